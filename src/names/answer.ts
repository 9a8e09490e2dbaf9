/**
 * One DNS query and its answer, by the book (RFC 1034, RFC 1035, RFC 2308 for what isn't there, RFC 6891 for EDNS). Pure. Only for zones
 * of our own: no recursion, no transfers, no updates.
 */
import type { Answer, DecodedPacket, OptAnswer, Packet, Question, SoaAnswer } from 'dns-packet';
import { AUTHORITATIVE_ANSWER, decode, encode, RECURSION_DESIRED, TRUNCATED_RESPONSE } from 'dns-packet';
import type { Found, Zone } from './zone.js';

/** Seconds: certificates change rarely, and who is gone should be forgotten soon. */
export const TTL = 30;
/** What a UDP answer may have without EDNS (RFC 1035 §4.2.1), and what we say and take with it (the DNS flag day's 1232). */
const UDP_LEAST = 512;
const UDP_MOST = 1232;
const HEADER = 12;

const RCODE = { ok: 0, format: 1, unknownName: 3, notImplemented: 4, refused: 5 } as const;
const BAD_VERSION = 16;

export interface Answered {
  /** Undefined where silence is right: what isn't a query. */
  readonly bytes?: Uint8Array;
  /** For the counters. */
  readonly outcome: 'answered' | 'unknown' | 'refused' | 'malformed';
}

/** Answers the query in `bytes`; over UDP within the size that the client takes, else marked as truncated. Never throws. */
export function answerQuery(zone: Zone, bytes: Uint8Array, transport: 'udp' | 'tcp'): Answered {
  if (bytes.length < HEADER || (bytes[2] & 0x80) !== 0) return { outcome: 'malformed' };
  const query = tryDecode(bytes);
  if (query === undefined) return { bytes: formatError(bytes), outcome: 'malformed' };
  const opt = query.additionals?.find((answer): answer is OptAnswer => answer.type === 'OPT');
  const { packet, outcome } = respond(zone, query, opt);
  const whole = encode(packet);
  if (transport === 'tcp' || whole.length <= udpLimit(opt)) return { bytes: whole, outcome };
  const flags = (packet.flags ?? 0) | TRUNCATED_RESPONSE;
  return { bytes: encode({ ...packet, flags, answers: [], authorities: [] }), outcome };
}

function tryDecode(bytes: Uint8Array): DecodedPacket | undefined {
  try {
    return decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  } catch {
    return undefined;
  }
}

function udpLimit(opt: OptAnswer | undefined): number {
  return opt === undefined ? UDP_LEAST : Math.min(Math.max(opt.udpPayloadSize, UDP_LEAST), UDP_MOST);
}

function respond(
  zone: Zone,
  query: DecodedPacket,
  opt: OptAnswer | undefined,
): { packet: Packet; outcome: Answered['outcome'] } {
  const { id, questions = [] } = query;
  const echoed = (query.flags ?? 0) & (RECURSION_DESIRED | 0x7800); // and the opcode
  const packet = (rcode: number, more: Partial<Packet> = {}, extended = 0): Packet => ({
    type: 'response',
    id: id!,
    ...more,
    flags: echoed | (more.flags ?? 0) | rcode,
    questions,
    ...(opt && { additionals: [ownOpt(extended)] }),
  });
  if (opt !== undefined && opt.ednsVersion !== 0) {
    return { packet: packet(BAD_VERSION & 15, {}, BAD_VERSION >> 4), outcome: 'malformed' };
  }
  if ((echoed & 0x7800) !== 0) return { packet: packet(RCODE.notImplemented), outcome: 'refused' };
  if (questions.length !== 1) return { packet: packet(RCODE.format), outcome: 'malformed' };
  const found = zone.find(questions[0].name);
  const foreign = (questions[0] as { class?: string }).class;
  if (found.kind === 'outside' || (foreign !== 'IN' && foreign !== 'ANY')) {
    return { packet: packet(RCODE.refused), outcome: 'refused' };
  }
  const answers = answersTo(questions[0], found);
  const isUnknown = found.kind === 'unknown' && !found.isParent;
  const authorities = answers.length > 0 ? [] : [startOfAuthority(zone, found.zone)];
  return {
    packet: packet(isUnknown ? RCODE.unknownName : RCODE.ok, {
      flags: AUTHORITATIVE_ANSWER,
      answers,
      authorities,
    }),
    outcome: isUnknown ? 'unknown' : 'answered',
  };
}

function answersTo({ name, type }: Question, found: Exclude<Found, { kind: 'outside' }>): Answer[] {
  const wants = (asked: string) => type === asked || (type as string) === 'ANY';
  switch (found.kind) {
    case 'node':
      return [
        ...(wants('A')
          ? found.addresses.v4.map((data) => ({ type: 'A', name, ttl: TTL, data }) as const)
          : []),
        ...(wants('AAAA')
          ? found.addresses.v6.map((data) => ({ type: 'AAAA', name, ttl: TTL, data }) as const)
          : []),
      ];
    case 'address':
      return wants('PTR') ? [{ type: 'PTR', name, ttl: TTL, data: found.name }] : [];
    case 'top':
    case 'unknown':
      return [];
  }
}

/** Says for how long it may be remembered that there is nothing (RFC 2308 §5). */
function startOfAuthority(zone: Zone, top: string): SoaAnswer {
  const data = { mname: zone.top, rname: `nobody.${zone.top}`, serial: 1, refresh: TTL, retry: TTL };
  return { type: 'SOA', name: top, ttl: TTL, data: { ...data, expire: TTL, minimum: TTL } };
}

function ownOpt(extendedRcode: number): OptAnswer {
  return {
    type: 'OPT',
    name: '.',
    udpPayloadSize: UDP_MOST,
    extendedRcode,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  };
}

/** Answers what can't be read: the identifier and opcode are all that is sure. */
function formatError(bytes: Uint8Array): Uint8Array {
  const answer = new Uint8Array(HEADER);
  answer.set(bytes.subarray(0, 2));
  answer[2] = 0x80 | (bytes[2] & 0x79);
  answer[3] = RCODE.format;
  return answer;
}
