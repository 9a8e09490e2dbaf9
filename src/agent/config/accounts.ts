/** Users and groups of this host by name or number: the host's files first, then whatever else it asks (`getent`: LDAP and the like). */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { UserGroup } from '../../intercept/rules.js';

/** The number above it stands for nobody. */
const MAX_ID = 0xffff_fffe;
const LOOK_UP_MS = 5000;

/** Undefined where the host has no such user. A number need not be anyone's. */
export function findUser(name: string | number): number | undefined {
  if (isId(name)) return Number(name);
  const entry = find('passwd', String(name));
  return entry && Number(entry[2]);
}

/** The group with its members, those included whose first group it is. */
export function findGroup(name: string | number): UserGroup | undefined {
  const entry = find('group', String(name));
  if (!entry) return isId(name) ? { gid: Number(name), members: [] } : undefined;
  const gid = Number(entry[2]);
  const named = (entry[3] ?? '').split(',').filter((member) => member !== '');
  const first = lines('passwd').filter((fields) => Number(fields[3]) === gid);
  const members = [
    ...named.map(findUser).filter((id) => id !== undefined),
    ...first.map((fields) => Number(fields[2])),
  ];
  return { gid, members: [...new Set(members)].sort((a, b) => a - b) };
}

/** A user's name, or the number where it has none. */
export function userName(uid: number): string {
  return find('passwd', String(uid))?.[0] ?? String(uid);
}

function isId(name: string | number): boolean {
  return /^\d{1,10}$/.test(String(name)) && Number(name) <= MAX_ID;
}

type Database = 'passwd' | 'group';

/** The fields of an entry by its name, or its number. */
function find(database: Database, key: string): string[] | undefined {
  const known = lines(database).find((fields) => fields[0] === key || fields[2] === key);
  if (known) return known;
  const found = spawnSync('getent', [database, key], { encoding: 'utf8', timeout: LOOK_UP_MS });
  return found.status === 0 ? found.stdout.trim().split(':') : undefined;
}

function lines(database: Database): string[][] {
  try {
    return readFileSync(`/etc/${database}`, 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .filter((fields) => fields.length >= 4);
  } catch {
    return [];
  }
}
