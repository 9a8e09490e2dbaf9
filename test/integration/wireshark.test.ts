/** The Wireshark dissector, run by tshark over datagrams that the agent's own code writes. Skipped without tshark. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  encodeDatagram,
  INIT_BYTES,
  INIT_COOKIE_MAC,
  INIT_MAC,
  TYPE_COOKIE,
  TYPE_FINAL,
  TYPE_INIT,
  TYPE_RESPONSE,
  TYPE_VERDICT,
} from '../../src/crypto/handshake/datagram.js';
import { writeNumber, writeRecordHeader } from '../../src/overlay/wire/record.js';

const SCRIPT = fileURLToPath(new URL('../../docs/wireshark/causeway.lua', import.meta.url));
const missing = spawnSync('tshark', ['--version']).status !== 0;
if (missing) console.warn('SKIPPED: the dissector is not tested, tshark is missing (apt-get install tshark)');

const PORT = 7100;
const LINKTYPE_RAW = 101;
const IPV4_UDP_HEADERS = 28;

/** A UDP datagram in an IPv4 packet, checksums left zero (no checksum). */
function ipv4(payload: Uint8Array, port: number): Uint8Array {
  const packet = Buffer.alloc(IPV4_UDP_HEADERS + payload.length);
  packet.set([0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
  packet.writeUInt16BE(packet.length, 2);
  packet.writeUInt16BE(port, 20);
  packet.writeUInt16BE(port, 22);
  packet.writeUInt16BE(8 + payload.length, 24);
  packet.set(payload, IPV4_UDP_HEADERS);
  return packet;
}

/** A classic pcap file (little-endian, version 2.4), a packet a second. */
function pcap(packets: readonly Uint8Array[]): Uint8Array {
  const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
  const head = words(0xa1b2c3d4, (4 << 16) | 2, 0, 0, 65535, LINKTYPE_RAW);
  return Buffer.concat([
    head,
    ...packets.flatMap((packet, i) => [words(i, 0, packet.length, packet.length), packet]),
  ]);
}

/** Bytes that tell where they lie: value i + start. */
const counting = (length: number, start = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i + start) & 0xff);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

function record(index: number, counter: number, body: Uint8Array): Uint8Array {
  const bytes = Buffer.concat([new Uint8Array(16), body, counting(16, 0xa0)]);
  writeRecordHeader(new DataView(bytes.buffer, bytes.byteOffset), 0, index, counter);
  return bytes;
}

function init(cookieMac: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(INIT_BYTES);
  bytes.set(encodeDatagram(TYPE_INIT, 0x01020304, counting(32, 1)));
  bytes.set(counting(16, 0x40), INIT_MAC);
  bytes.set(cookieMac, INIT_COOKIE_MAC);
  return bytes;
}

function numberedRecord(counter: number): Uint8Array {
  const bytes = Uint8Array.from(record(1, counter, counting(8)));
  writeNumber(new DataView(bytes.buffer), 0, 5, 0x1abcde);
  return bytes;
}

describe.skipIf(missing)('the dissector', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'causeway-wireshark-'));
  });
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });

  /** Values of the fields, one record for each datagram; absent fields are empty. */
  function dissect(
    datagrams: readonly Uint8Array[],
    names: readonly string[],
    port = PORT,
  ): Record<string, string>[] {
    const file = join(directory, 'test.pcap');
    writeFileSync(file, pcap(datagrams.map((datagram) => ipv4(datagram, port))));
    const columns = ['_ws.col.Protocol', '_ws.col.Info', ...names];
    const argv = [
      '-X',
      `lua_script:${SCRIPT}`,
      '-r',
      file,
      '-T',
      'fields',
      ...columns.flatMap((name) => ['-e', name]),
    ];
    const { stdout, stderr } = spawnSync('tshark', argv, { encoding: 'utf8' });
    expect(stderr).not.toContain('Lua');
    return stdout
      .replace(/\n$/, '')
      .split('\n')
      .map((line) => Object.fromEntries(line.split('\t').map((value, i) => [columns[i], value])));
  }

  it('shows the header of sealed records, and of the body only its length', () => {
    const names = [
      'causeway.version',
      'causeway.type',
      'causeway.index',
      'causeway.counter',
      'causeway.body',
      'causeway.body_length',
      'causeway.keepalive',
      'causeway.tag',
    ];
    const [data, keepalive] = dissect(
      [record(0xdeadbeef, 2 ** 40 + 7, counting(100)), record(1, 3, counting(0))],
      names,
    );
    expect(data).toMatchObject({
      '_ws.col.Protocol': 'Causeway',
      '_ws.col.Info': `Sealed record, index 0xdeadbeef, counter ${2 ** 40 + 7}, 100 bytes of frames`,
      'causeway.version': '1',
      'causeway.type': '5',
      'causeway.index': '0xdeadbeef',
      'causeway.counter': String(2 ** 40 + 7),
      'causeway.body': hex(counting(100)),
      'causeway.body_length': '100',
      'causeway.keepalive': '0',
      'causeway.tag': hex(counting(16, 0xa0)),
    });
    expect(keepalive).toMatchObject({
      'causeway.body': '',
      'causeway.body_length': '0',
      'causeway.keepalive': '1',
    });
    expect(keepalive['_ws.col.Info']).toBe('Sealed record, index 0x00000001, counter 3, keepalive');
  });

  it('shows the number of a numbered record', () => {
    const [shown, plain] = dissect(
      [numberedRecord(3), record(1, 4, counting(8))],
      ['causeway.epoch', 'causeway.number', 'causeway.bad_reserved'],
    );
    expect(shown).toMatchObject({ 'causeway.epoch': '5', 'causeway.number': String(0x1abcde) });
    expect(shown['_ws.col.Info']).toContain(`number ${0x1abcde} of epoch 5, counter 3`);
    expect(plain).toMatchObject({ 'causeway.epoch': '0', 'causeway.number': '0' });
    for (const each of [shown, plain]) expect(each['causeway.bad_reserved']).toBe('');
  });

  it('shows the fields of the handshake', () => {
    const names = [
      'causeway.type',
      'causeway.index',
      'causeway.noise.e',
      'causeway.noise.s',
      'causeway.noise.payload',
      'causeway.network_mac',
      'causeway.cookie_mac',
      'causeway.cookie.salt',
      'causeway.cookie.sealed',
      'causeway.verdict.sealed',
      '_ws.expert',
    ];
    const [first, withCookie, response, final, cookie, verdict] = dissect(
      [
        init(new Uint8Array(16)),
        init(counting(16, 0x50)),
        encodeDatagram(TYPE_RESPONSE, 7, counting(120)),
        encodeDatagram(TYPE_FINAL, 8, counting(90)),
        encodeDatagram(TYPE_COOKIE, 9, counting(56)),
        encodeDatagram(TYPE_VERDICT, 10, counting(30)),
      ],
      names,
    );
    const padding = '00'.repeat(1128);
    expect(first).toMatchObject({
      'causeway.type': '1',
      'causeway.noise.e': hex(counting(32, 1)),
      'causeway.noise.payload': padding,
      'causeway.network_mac': hex(counting(16, 0x40)),
    });
    expect(first['_ws.col.Info']).toBe('Handshake init, index 0x01020304');
    expect(withCookie['causeway.cookie_mac']).toBe(hex(counting(16, 0x50)));
    expect(withCookie['_ws.col.Info']).toBe('Handshake init, index 0x01020304, with cookie');
    expect(response).toMatchObject({
      'causeway.index': '0x00000007',
      'causeway.noise.e': hex(counting(32)),
      'causeway.noise.s': hex(counting(48, 32)),
      'causeway.noise.payload': hex(counting(40, 80)),
    });
    expect(final).toMatchObject({
      'causeway.index': '0x00000008',
      'causeway.noise.e': '',
      'causeway.noise.s': hex(counting(48)),
      'causeway.noise.payload': hex(counting(42, 48)),
    });
    expect(cookie).toMatchObject({
      'causeway.cookie.salt': hex(counting(24)),
      'causeway.cookie.sealed': hex(counting(32, 24)),
    });
    expect(verdict).toMatchObject({ 'causeway.type': '6', 'causeway.verdict.sealed': hex(counting(30)) });
    for (const each of [first, withCookie, response, final, cookie, verdict])
      expect(each['_ws.expert']).toBe('');
  });

  it('says what is wrong with a datagram that an agent would drop, and never fails on one', () => {
    const later = Uint8Array.from(record(1, 1, counting(4)));
    later[0] = 0x25;
    const unknown = Uint8Array.from(record(1, 1, counting(4)));
    unknown[0] = 0x1f;
    const reserved = Uint8Array.from(encodeDatagram(TYPE_COOKIE, 9, counting(56)));
    reserved[2] = 1;
    const cut = Array.from({ length: 40 }, (_, i) => record(1, 1, counting(8)).subarray(0, i + 1));
    const names = [
      'causeway.bad_version',
      'causeway.bad_type',
      'causeway.bad_size',
      'causeway.bad_reserved',
      '_ws.lua.error',
    ];
    const [v, t, r, ...rest] = dissect([later, unknown, reserved, ...cut], names);
    expect(v).toMatchObject({
      '_ws.col.Info': 'Version 2',
      'causeway.bad_version': expect.stringMatching(/./),
    });
    expect(t).toMatchObject({
      '_ws.col.Info': 'Unknown type 15',
      'causeway.bad_type': expect.stringMatching(/./),
    });
    expect(r['causeway.bad_reserved']).not.toBe('');
    expect(rest.map((each) => each['causeway.bad_size'] !== '')).toEqual(
      cut.map((bytes) => bytes.length < 32),
    );
    for (const each of [v, t, r, ...rest]) expect(each['_ws.lua.error']).toBe('');
  });

  it('finds our datagrams on other ports by their look, and leaves others alone', () => {
    const dtlsAlert = Uint8Array.from([0x15, 0xfe, 0xfd, ...counting(40)]);
    const [early, ours, numbered, dtls, text] = dissect(
      [
        numberedRecord(2),
        record(1, 1, counting(8)),
        numberedRecord(3),
        dtlsAlert,
        Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      ],
      [],
      47_321,
    );
    expect([early, ours, numbered].map((each) => each['_ws.col.Protocol'] === 'Causeway')).toEqual([
      false,
      true,
      true,
    ]);
    expect(dtls['_ws.col.Protocol']).not.toBe('Causeway');
    expect(text['_ws.col.Protocol']).not.toBe('Causeway');
  });
});
