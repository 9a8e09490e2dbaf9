/** Why a peer's bytes could not be decoded: a value to count, never an exception. */
export interface Reject {
  readonly type: 'reject';
  readonly reason: RejectReason;
}

export type RejectReason =
  /** Fewer bytes than the fields need. */
  | 'short'
  /** More bytes than the fields may have. */
  | 'long'
  /** A field holds a value that this version doesn't define. */
  | 'unknown-value'
  /** Fields contradict each other. */
  | 'inconsistent';

const REJECTS: { readonly [reason in RejectReason]: Reject } = {
  short: { type: 'reject', reason: 'short' },
  long: { type: 'reject', reason: 'long' },
  'unknown-value': { type: 'reject', reason: 'unknown-value' },
  inconsistent: { type: 'reject', reason: 'inconsistent' },
};

/** The one shared object for each reason, so that a flood of bad frames allocates nothing. */
export function reject(reason: RejectReason): Reject {
  return REJECTS[reason];
}
