/** Names of nodes, groups and roles, and the id that a node's name gives. */
import { createHash } from 'node:crypto';

const MAX_NAME = 63;
const MAX_PRINTABLE = 200;
const LABEL = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;
const TOKEN = /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/;

/** The first 4 bytes, big-endian, of SHA-256 of the name: 0 .. 2³²-1. */
export function nodeIdOf(name: string): number {
  return createHash('sha256').update(name, 'utf8').digest().readUInt32BE(0);
}

/** What is wrong with a node's name (dot-separated DNS labels, lower case, at most 63 characters), or undefined. */
export function nodeNameProblem(name: string): string | undefined {
  if (name.length === 0) return 'a node name is empty';
  if (name.length > MAX_NAME)
    return `node name "${name.slice(0, 20)}…" has ${name.length} characters; at most ${MAX_NAME} fit`;
  if (name !== name.toLowerCase())
    return `node name ${JSON.stringify(name)} has capitals; write it as ${JSON.stringify(name.toLowerCase())}`;
  if (name.split('.').every((label) => LABEL.test(label))) return undefined;
  return `node name ${JSON.stringify(name)} is no DNS name; use letters, digits and inner hyphens`;
}

/** What is wrong with a group's or role's name (a-z, 0-9 and inner `.`, `_`, `-`, at most 63 characters), or undefined. */
export function tokenProblem(kind: 'group' | 'role', name: string): string | undefined {
  if (name.length <= MAX_NAME && TOKEN.test(name)) return undefined;
  return `${kind} ${JSON.stringify(name.slice(0, 80))} is no ${kind} name; use a-z, 0-9 and inner . _ -, at most ${MAX_NAME} characters`;
}

/** A stranger's text as it may stand in a log or on a terminal: no control or format characters, at most 200 characters. */
export function printable(text: string): string {
  const safe = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '\u{fffd}');
  return safe.length > MAX_PRINTABLE ? `${safe.slice(0, MAX_PRINTABLE)}…` : safe;
}
