/** Why a handshake failed: reasons, their codes on the wire, and one line for a human that says what to do. */

/** What can be wrong with a certificate, as its verifier sees it. */
export type CertificateFault = 'unknown-ca' | 'expired' | 'not-yet-valid' | 'revoked' | 'bad-certificate';

/** What one end refuses the other for. */
export type RejectReason =
  | CertificateFault
  | 'wrong-peer'
  | 'bad-signature'
  | 'clock-off'
  | 'malformed'
  | 'no-common-version'
  | 'no-common-cipher'
  | 'other';

export type FailureReason = RejectReason | 'no-answer' | 'rejected-by-peer';

/** Codes on the wire; 0 is "accepted". Numbers never change their meaning. */
const CODES: readonly (RejectReason | 'superseded' | undefined)[] = [
  undefined,
  'unknown-ca',
  'expired',
  'not-yet-valid',
  'wrong-peer',
  'bad-signature',
  'clock-off',
  'revoked',
  'bad-certificate',
  'malformed',
  'no-common-version',
  'no-common-cipher',
  'superseded',
];
const CODE_OTHER = 255;

export function codeOf(reason: RejectReason | 'superseded' | undefined): number {
  const code = CODES.indexOf(reason);
  return code < 0 ? CODE_OTHER : code;
}

/** A code that this version doesn't know is `other`. */
export function reasonOf(code: number): RejectReason | 'superseded' | undefined {
  return code < CODES.length ? CODES[code] : 'other';
}

const ADVICE: { readonly [reason in FailureReason]: string } = {
  'unknown-ca': 'its certificate is not from a CA that we trust; compare ca.crt on both ends',
  expired: 'its certificate has expired; sign a new one with "causeway ca sign"',
  'not-yet-valid': 'its certificate is not valid yet; check the clocks of both hosts',
  'wrong-peer': 'it is another node than the one configured; check the name and endpoints under peers',
  'bad-signature': 'it does not hold the key of the certificate it shows; do not trust that endpoint',
  'clock-off': 'the clocks disagree; set them, for example with NTP',
  revoked: 'its certificate has been revoked',
  'bad-certificate': 'its certificate cannot be used',
  malformed: 'it sent a handshake that cannot be read; compare the versions of both agents',
  'no-common-version': 'no protocol version in common; upgrade the older agent',
  'no-common-cipher': 'no data cipher in common',
  other: 'a reason that only a later version knows',
  'no-answer':
    'no answer; check that it runs, that UDP reaches it, and that both ends trust the same CA (strangers get no answer)',
  'rejected-by-peer': 'it refused us',
};

/** How a peer's refusal reads to the one refused. */
const REFUSED: { readonly [reason in RejectReason]: string } = {
  'unknown-ca': 'unknown CA (it does not trust the CA that signed our certificate)',
  expired: 'our certificate has expired; renew it with "causeway ca sign"',
  'not-yet-valid': 'our certificate is not valid yet by its clock',
  'wrong-peer': 'we are not the node it was configured to reach',
  'bad-signature': 'our signature does not match our certificate',
  'clock-off': 'the clocks disagree; set them, for example with NTP',
  revoked: 'our certificate has been revoked',
  'bad-certificate': 'it cannot use our certificate',
  malformed: 'it cannot read our handshake; compare the versions of both agents',
  'no-common-version': 'no protocol version in common; upgrade the older agent',
  'no-common-cipher': 'no data cipher in common',
  other: 'a reason that only a later version knows',
};

export interface FailureWords {
  /** The peer's name where it is known or configured. */
  readonly peer: string | undefined;
  readonly endpoint: string;
  readonly reason: FailureReason;
  /** With `rejected-by-peer`. */
  readonly peerReason: RejectReason | undefined;
  /** What exactly; may be empty. */
  readonly detail: string;
}

/** One line: who, what, and the remedy. */
export function describeFailure(failure: FailureWords): string {
  const who = failure.peer === undefined ? failure.endpoint : `${failure.peer} at ${failure.endpoint}`;
  const what =
    failure.reason === 'rejected-by-peer' && failure.peerReason !== undefined
      ? `rejected by peer: ${REFUSED[failure.peerReason]}`
      : ADVICE[failure.reason];
  return failure.detail === '' ? `${who}: ${what}` : `${who}: ${what} (${failure.detail})`;
}

/** A span of time in its two largest units, such as "3 h 12 min". `ms` may be negative; its sign is left out. */
export function formatSpan(ms: number): string {
  const units = [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
    ['s', 1000],
  ] as const;
  const exact = Math.abs(ms);
  const first = units.findIndex(([, size]) => exact >= size);
  if (first < 0) return `${Math.round(exact)} ms`;
  const [name, size] = units[first]!;
  const [restName, restSize] = units[first + 1] ?? ['', size];
  const span = Math.round(exact / restSize) * restSize;
  const more = Math.floor((span % size) / restSize);
  return `${Math.floor(span / size)} ${name}${more > 0 ? ` ${more} ${restName}` : ''}`;
}
