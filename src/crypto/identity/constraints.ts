/** The overlay's prefixes as a CA's iPAddress name constraints (RFC 5280 §4.2.1.10). */
import { constraintOf, prefixContains, prefixFromConstraint } from './address.js';
import type { OverlayAddress, OverlayPrefix } from './address.js';
import { readAll, readSequence, TAG, writeTlv } from './der.js';
import { reject } from './reject.js';
import type { Reject } from './reject.js';

export interface OverlayConstraints {
  readonly overlayPrefixes: readonly OverlayPrefix[];
  readonly excludedPrefixes: readonly OverlayPrefix[];
}

const PERMITTED = TAG.contextConstructed(0);
const EXCLUDED = TAG.contextConstructed(1);
const IP_ADDRESS = TAG.context(7);
const OVERLAY_REMEDY = 'make the CA with "causeway ca init --overlay 10.77.0.0/16"';

/**
 * Reads the extension's value. Refused: none, or no permitted prefix (the overlay would be the whole Internet), and
 * constraints on other kinds of name, which would have to be enforced.
 */
export function readOverlayConstraints(
  value: Uint8Array | undefined,
  subject: string,
): OverlayConstraints | Reject {
  if (value === undefined)
    return reject('not-a-ca', `CA "${subject}" names no overlay prefixes; ${OVERLAY_REMEDY}`);
  const parts = readSequence(value);
  if (parts === undefined) return reject('malformed', `CA "${subject}": its name constraints are not DER`);
  const found: Record<number, OverlayPrefix[]> = { [PERMITTED]: [], [EXCLUDED]: [] };
  for (const { tag, value: subtrees } of parts) {
    const prefixes = tag === PERMITTED || tag === EXCLUDED ? readSubtrees(subtrees) : undefined;
    if (prefixes === undefined) {
      return reject(
        'not-a-ca',
        `CA "${subject}" constrains other names than IP prefixes, which is not supported`,
      );
    }
    found[tag].push(...prefixes);
  }
  if (found[PERMITTED].length === 0)
    return reject('not-a-ca', `CA "${subject}" names no overlay prefixes; ${OVERLAY_REMEDY}`);
  return { overlayPrefixes: found[PERMITTED], excludedPrefixes: found[EXCLUDED] };
}

/** GeneralSubtrees; undefined unless all are iPAddress without minimum or maximum. */
function readSubtrees(bytes: Uint8Array): OverlayPrefix[] | undefined {
  const prefixes = readAll(bytes)?.map((subtree) => {
    const base = readAll(subtree.value);
    if (subtree.tag !== TAG.sequence || base?.length !== 1 || base[0].tag !== IP_ADDRESS) return undefined;
    return prefixFromConstraint(base[0].value);
  });
  return prefixes?.every((prefix) => prefix !== undefined) ? prefixes : undefined;
}

/** The extension's value for a CA of these prefixes. */
export function writeOverlayConstraints(overlay: readonly OverlayPrefix[]): Uint8Array {
  const subtrees = overlay.map((prefix) =>
    writeTlv(TAG.sequence, writeTlv(IP_ADDRESS, constraintOf(prefix))),
  );
  return writeTlv(TAG.sequence, writeTlv(PERMITTED, ...subtrees));
}

/** The first address outside the constraints, or undefined. Routes are not constrained. */
export function addressOutside(
  { overlayPrefixes, excludedPrefixes }: OverlayConstraints,
  addresses: readonly OverlayAddress[],
): OverlayAddress | undefined {
  const within = (prefixes: readonly OverlayPrefix[], address: OverlayAddress): boolean =>
    prefixes.some((prefix) => prefixContains(prefix, address));
  return addresses.find((address) => !within(overlayPrefixes, address) || within(excludedPrefixes, address));
}

/** The first real address inside the overlay's prefixes, or undefined: there only addresses are owned, which the constraints judge. */
export function realInside(
  overlayPrefixes: readonly OverlayPrefix[],
  real: readonly OverlayAddress[],
): OverlayAddress | undefined {
  return real.find((address) => overlayPrefixes.some((prefix) => prefixContains(prefix, address)));
}
