import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadConfig, loadIdentity } from '../../../src/agent/config/index.js';
import { destinationsOf } from '../../../src/agent/destinations.js';
import { KnownNodes } from '../../../src/agent/known-nodes.js';
import { type NodeCertificate, parseCertificate } from '../../../src/crypto/identity/index.js';
import { lifetime, TestAuthority } from '../../support/pki/authority.js';

const DAY_MS = 86_400_000;
const NOW = Date.now();

let directory: string;
let authority: TestAuthority;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'causeway-known-'));
  authority = await TestAuthority.create(NOW);
  await authority.writeNode(directory, 'a', '10.77.0.1', lifetime(NOW), { real: ['192.0.2.1'] });
});
afterEach(() => rmSync(directory, { recursive: true }));

const state = (): string => join(directory, 'state');

/** Signs b's certificate, and leaves it beside a's own. */
async function sign(real: string, days = 30, by = authority, begun = NOW): Promise<NodeCertificate> {
  const own = readFileSync(join(directory, 'ca.crt'));
  await by.writeNode(directory, 'b', '10.77.0.2', lifetime(begun, days), { real: [real] });
  writeFileSync(join(directory, 'ca.crt'), own);
  return certificate();
}

function certificate(): NodeCertificate {
  const parsed = parseCertificate(readFileSync(join(directory, 'b.crt')));
  if (!parsed.ok) throw new Error(parsed.text);
  return parsed.certificate as NodeCertificate;
}

const hide = (): void => renameSync(join(directory, 'b.crt'), join(directory, 'b.hidden'));

function known(wall = NOW, warnings: unknown[] = []): KnownNodes {
  const config = loadConfig(join(directory, 'a.yaml'));
  return new KnownNodes(
    config,
    loadIdentity(config, NOW),
    () => wall,
    (error) => warnings.push(error),
    state(),
  );
}

const present = (...nodes: NodeCertificate[]) => nodes.map((each) => ({ certificate: each, ways: [] }));

it('a node is known by its certificate beside this node’s own, and for as long as that is in force', async () => {
  await sign('192.0.2.2');
  expect(known().absent([])).toEqual(['192.0.2.2']);
  expect(known(NOW + 31 * DAY_MS).absent([])).toEqual([]);
});

it('a node whose certificate lay beside this node’s own is known in the next run, without it', async () => {
  await sign('192.0.2.2');
  known().absent([]);
  rmSync(join(directory, 'b.crt'));
  expect(known().absent([])).toEqual(['192.0.2.2']);
});

it('what no trusted authority signed is known to nobody', async () => {
  await sign('192.0.2.2', 30, await TestAuthority.create(NOW));
  expect(known().absent([])).toEqual([]);
});

it('a node that was there is known when it has left, and in the next run', async () => {
  const b = await sign('192.0.2.2');
  hide();
  const first = known();
  expect(first.absent([])).toEqual([]);
  expect(first.absent(present(b))).toEqual([]);
  expect(first.absent([])).toEqual(['192.0.2.2']);
  expect(known().absent([])).toEqual(['192.0.2.2']);
});

it('a newer certificate counts in place of an older one', async () => {
  await sign('192.0.2.2');
  const first = known();
  const newer = await sign('192.0.2.3', 30, authority, NOW + 1000);
  hide();
  first.absent(present(newer));
  expect(known().absent([])).toEqual(['192.0.2.3']);
});

it('a file that can’t be written is warned of, and one that is damaged is as none', async () => {
  const b = await sign('192.0.2.2');
  hide();
  writeFileSync(state(), 'a file where the folder should be');
  const warnings: unknown[] = [];
  const nodes = known(NOW, warnings);
  nodes.absent(present(b));
  expect(warnings.length).toBe(1);
  expect(nodes.absent([])).toEqual(['192.0.2.2']);
  rmSync(state());
  mkdirSync(state());
  writeFileSync(
    join(state(), 'a.known.pem'),
    '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
  );
  expect(known().absent([])).toEqual([]);
});

it('is withheld where nothing may go directly, unless another node has the address', async () => {
  const b = await sign('192.0.2.2');
  const asked = { participants: true, fallback: 'refuse', exit: undefined } as const;
  expect(destinationsOf([], 1, asked, ['192.0.2.2', '192.0.2.9']).withheld).toEqual([
    '192.0.2.2',
    '192.0.2.9',
  ]);
  expect(destinationsOf(present(b), 1, asked, ['192.0.2.2', '192.0.2.9']).withheld).toEqual(['192.0.2.9']);
  expect(destinationsOf([], 1, { ...asked, fallback: 'direct' }, ['192.0.2.2']).withheld).toEqual([]);
  expect(destinationsOf([], 1, { ...asked, participants: false }, ['192.0.2.2']).withheld).toEqual([]);
});
