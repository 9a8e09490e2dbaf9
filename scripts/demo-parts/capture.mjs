/** tcpdump on an interface, and what its file holds: packets by kind, and how often some text appears in clear. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './stage.mjs';

const PCAP_HEADER = 24;
const PCAP_RECORD_HEADER = 16;
const LINK_ETHERNET = 1;
const ETHERNET_HEADER = 14;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const PROTOCOL_UDP = 17;

/** Starts capturing; resolves once tcpdump listens. */
export async function startCapture(stage, host, device) {
  const file = join(stage.folder, `${host}-${device}.pcap`);
  const words = ['-i', device, '-n', '-U', '-s', '0', '-B', '16384', '-Z', 'root', '-w', file];
  const tcpdump = stage.start(host, 'tcpdump', ...words);
  await until(() => tcpdump.stderr().includes('listening on'), `tcpdump on ${host}'s ${device}`);
  return {
    /** Ends the capture; resolves with its bytes. */
    async stop() {
      await tcpdump.end('SIGINT');
      return readFileSync(file);
    },
  };
}

/** {udp: UDP packets to or from `port`, bytes: theirs, other: all other packets} of a capture of an Ethernet device. */
export function countUdp(pcap, port) {
  const counts = { udp: 0, bytes: 0, other: 0 };
  const little = pcap.readUInt32LE(0) === 0xa1b2c3d4 || pcap.readUInt32LE(0) === 0xa1b23c4d;
  const word = (at) => (little ? pcap.readUInt32LE(at) : pcap.readUInt32BE(at));
  if (word(20) !== LINK_ETHERNET) throw new Error('the capture is not of an Ethernet device');
  for (let at = PCAP_HEADER; at + PCAP_RECORD_HEADER <= pcap.length;) {
    const size = word(at + 8);
    const frame = pcap.subarray(at + PCAP_RECORD_HEADER, at + PCAP_RECORD_HEADER + size);
    if (isUdp(frame, port)) {
      counts.udp++;
      counts.bytes += size;
    } else counts.other++;
    at += PCAP_RECORD_HEADER + size;
  }
  return counts;
}

function isUdp(frame, port) {
  if (frame.length < ETHERNET_HEADER + 40) return false;
  const type = frame.readUInt16BE(12);
  const ip = ETHERNET_HEADER;
  if (type === ETHERTYPE_IPV4)
    return frame[ip + 9] === PROTOCOL_UDP && hasPort(frame, ip + (frame[ip] & 15) * 4, port);
  return type === ETHERTYPE_IPV6 && frame[ip + 6] === PROTOCOL_UDP && hasPort(frame, ip + 40, port);
}

function hasPort(frame, at, port) {
  if (frame.length < at + 4) return false;
  return frame.readUInt16BE(at) === port || frame.readUInt16BE(at + 2) === port;
}

/** How often `text` occurs in `bytes`. */
export function occurrences(bytes, text) {
  const needle = Buffer.from(text);
  let count = 0;
  for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + needle.length)) count++;
  return count;
}
