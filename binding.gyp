{
  'variables': { 'sanitize%': '<!(node -p "process.env.CAUSEWAY_SANITIZE || 0")' },
  'targets': [
    {
      'target_name': 'causeway',
      'sources': [
        'native/addon.cc',
        'native/env.cc',
        'native/batch.cc',
        'native/poller.cc',
        'native/checksum.cc',
        'native/packet.cc',
        'native/tun.cc',
        'native/coalesce.cc',
        'native/segment.cc',
        'native/copy.cc',
        'native/raw.cc',
        'native/udp.cc',
        'native/udp_receive.cc',
        'native/udp_send.cc',
        'native/aead.cc',
        'native/aead_openssl.cc',
        'native/aead_ipsecmb.cc',
        'native/timer.cc',
        'native/system.cc',
      ],
      'defines': ['NAPI_VERSION=8', '_GNU_SOURCE'],
      'cflags': ['-O3', '-Wall', '-Wextra', '-fvisibility=hidden'],
      'cflags_cc': ['-std=c++17', '-fvisibility-inlines-hidden', '-Wno-missing-field-initializers'],
      'libraries': ['-ldl'],
      'conditions': [
        ['sanitize==1', {
          'cflags': ['-g', '-fno-omit-frame-pointer', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'],
          'ldflags': ['-fsanitize=address,undefined'],
        }],
      ],
    },
  ],
}
