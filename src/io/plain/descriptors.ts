/** Finds the file descriptors of a UDP socket of this process, which node:dgram doesn't tell. */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

const FDS = '/proc/self/fd';
const LOCAL_ADDRESS_FIELD = 1;
const INODE_FIELD = 9;

/** Descriptors of this process's UDP sockets bound to `port`. */
export function descriptorsOf(port: number): number[] {
  const links = new Set(
    [...inodesOf('/proc/self/net/udp', port), ...inodesOf('/proc/self/net/udp6', port)].map(
      (inode) => `socket:[${inode}]`,
    ),
  );
  return readdirSync(FDS)
    .filter((fd) => links.has(linkOf(fd)))
    .map(Number);
}

function inodesOf(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return linesOf(table)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[LOCAL_ADDRESS_FIELD]?.endsWith(suffix))
    .map((fields) => fields[INODE_FIELD]);
}

/** A host without IPv6 has no table for it. */
function linesOf(table: string): string[] {
  try {
    return readFileSync(table, 'latin1').split('\n');
  } catch {
    return [];
  }
}

/** A descriptor may be gone by the time it is looked at, as the directory's own is. */
function linkOf(fd: string): string {
  try {
    return readlinkSync(`${FDS}/${fd}`);
  } catch {
    return '';
  }
}
