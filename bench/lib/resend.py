"""Sends packets in one of the ways of bench/resend.mjs: WAY bulk|small SECONDS FROM TO DEVICE MAC. UDP, so that nobody answers."""
import fcntl, socket, struct, subprocess, sys, time

way, what, seconds, own, target, device, mac = sys.argv[1:]
SEGMENT = 1400
PAYLOAD = SEGMENT * 44 if what == 'bulk' else 64
MARK = 0xca75


def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(size):
    """An IPv4 packet with a UDP payload of `size` bytes, its UDP checksum left to whoever segments it."""
    length = 20 + 8 + size
    addresses = socket.inet_aton(own) + socket.inet_aton(target)
    header = struct.pack('!BBHHHBBH', 0x45, 0, length, 0, 0, 64, 17, 0) + addresses
    header = header[:10] + struct.pack('!H', checksum(header)) + header[12:]
    pseudo = ~checksum(addresses + struct.pack('!HH', 17, 8 + size)) & 0xFFFF
    return header + struct.pack('!HHHH', 9, 9, 8 + size, pseudo) + bytes(size)


def vnet(ip_at):
    """virtio_net_hdr: checksum to be made, and segments of UDP (5) where there is more than one."""
    gso = (5, ip_at + 28, SEGMENT) if what == 'bulk' else (0, 0, 0)
    return struct.pack('<BBHHHH', 1, *gso, ip_at + 20, 6)


if way == 'raw socket':
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
    pieces = [packet(min(SEGMENT, PAYLOAD))] * max(1, PAYLOAD // SEGMENT)

    def send():
        for piece in pieces:
            s.sendto(piece, (target, 0))
elif way == 'packet socket':
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR
    s.bind((device, 0x0800))
    with open('/sys/class/net/%s/address' % device) as file:
        here = bytes.fromhex(file.read().strip().replace(':', ''))
    frame = vnet(14) + bytes.fromhex(mac.replace(':', '')) + here + b'\x08\x00' + packet(PAYLOAD)
    send = lambda: s.send(frame)
elif way == 'second device':
    s = open('/dev/net/tun', 'r+b', buffering=0)
    fcntl.ioctl(s, 0x400454CA, struct.pack('16sH14x', b'resend', 0x0001 | 0x1000 | 0x4000))  # TUNSETIFF: TUN, NO_PI, VNET_HDR
    subprocess.run(['ip', 'link', 'set', 'resend', 'up'], check=True)
    for path in ('all/forwarding', 'all/rp_filter', 'all/accept_local', 'resend/rp_filter', 'resend/accept_local'):
        with open('/proc/sys/net/ipv4/conf/' + path, 'w') as file:
            file.write('0' if 'rp_filter' in path else '1')
    frame = vnet(0) + packet(PAYLOAD)
    send = lambda: s.write(frame)
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if what == 'bulk':
        s.setsockopt(socket.IPPROTO_UDP, 103, SEGMENT)  # UDP_SEGMENT
    s.connect((target, 9))
    payload = bytes(PAYLOAD)
    send = lambda: s.send(payload)

end = time.monotonic() + float(seconds)
while time.monotonic() < end:
    for _ in range(8):
        try:
            send()
        except (BlockingIOError, OSError) as error:
            if error.errno not in (11, 105):  # EAGAIN, ENOBUFS
                raise
