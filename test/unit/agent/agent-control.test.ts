import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { AgentControl } from '../../../src/agent/agent-control.js';
import { type Config, loadConfig } from '../../../src/agent/config/index.js';
import type { LinkReport } from '../../../src/agent/messages.js';
import type { FlowReport } from '../../../src/intercept/flow-cache.js';
import { SERVICE_REALTIME, SERVICE_RELIABLE } from '../../../src/intercept/services.js';
import { RECOVERY } from '../../support/control/agent.js';
import { FakeWorker } from '../../support/control/worker.js';
import { sameWays } from '../../support/ways.js';

const FLOW: FlowReport = {
  tuple: {
    version: 4,
    protocol: 6,
    source: [0, 0, 0xffff, 0x0a4d_0001],
    destination: [0, 0, 0xffff, 0x0a4d_0003],
    sourcePort: 4000,
    destinationPort: 22,
  },
  label: 1,
  node: 3,
  service: 1,
  origin: 3,
  rule: -1,
  packets: 1,
  bytes: 100,
  bytesPerSecond: 10,
  ageMicros: 1,
  idleMicros: 1,
  detour: 0,
  retransmissions: 0,
  copies: 0,
};
const INCOMING = {
  ...{ node: 9, label: 5, service: 1, delivered: 1, reordered: 0, skipped: 0, duplicates: 0 },
  ...{ held: 0, idleMicros: 0 },
};

/** Node 1 is this one, a; c (3) is reached by b (2), d (4) isn't reached. */
const nodes = [
  { certificate: { nodeId: 1, name: 'a' }, ways: sameWays(0, Infinity, 0) },
  { certificate: { nodeId: 2, name: 'b' }, ways: sameWays(2, 1000, 1) },
  { certificate: { nodeId: 3, name: 'c' }, ways: sameWays(2, 2000, 2) },
  { certificate: { nodeId: 4, name: 'd' }, ways: sameWays(0, Infinity, 0) },
];

let worker: FakeWorker;
let control: AgentControl;
beforeEach(() => {
  worker = new FakeWorker();
  control = new AgentControl({} as never, { now: () => 0 } as never, () => undefined);
  const log = pino({ level: 'silent' });
  control.attach({ agent: { router: { nodes } }, port: worker, log, warnings: [] } as never);
});

describe('flows', () => {
  test('name nodes and the way to them', async () => {
    const outgoing = [FLOW, { ...FLOW, node: 2 }, { ...FLOW, node: 4 }, { ...FLOW, node: 0x99 }];
    worker.lists = { outgoing, incoming: [] };
    expect(await control.flows({ direction: 'both' })).toMatchObject([
      { direction: 'out', node: 'c', via: 'b', hops: 2, service: 'reliable', why: 'default' },
      { node: 'b', via: 'b', hops: 1 },
      { node: 'd', via: null, hops: null },
      { node: '#153', via: null, hops: null },
    ]);
  });

  test('of one direction are those alone, the others asked for only where they lend names', async () => {
    worker.lists = { outgoing: [FLOW], incoming: [INCOMING] };
    const directions = async (direction: 'in' | 'out' | 'both') =>
      (await control.flows({ direction })).map((flow) => flow.direction);
    expect(await directions('in')).toEqual(['in']);
    expect(await directions('both')).toEqual(['out', 'in']);
    worker.lists = { outgoing: [FLOW], incoming: [] };
    expect(await directions('out')).toEqual(['out']);
    expect(worker.filters.map(({ incoming }) => incoming)).toEqual([true, true, false]);
  });

  test('to a prefix are asked for by it', async () => {
    await control.flows({ direction: 'both', to: '10.77.0.0/16' });
    const to = { version: 4, words: [0, 0, 0xffff, 0x0a4d_0000], bits: 112 };
    expect(worker.filters).toMatchObject([{ to, incoming: false }]);
    await expect(control.flows({ direction: 'out', to: 'x' })).rejects.toMatchObject({ code: 'bad-request' });
  });
});

describe('setting flows', () => {
  const which = { protocol: 'tcp', source: '*', destination: '10.77.0.3:22' };
  const destination = { version: 4, words: [0, 0, 0xffff, 0x0a4d_0003], bits: 128 };
  const match = { protocols: [6], destination, destinationPort: 22 };

  test('goes to the worker as numbers', async () => {
    worker.matching = 2;
    expect(await control.setFlows({ ...which, service: 'realtime' })).toEqual({ flows: 2 });
    expect(await control.setFlows({ ...which, service: null })).toEqual({ flows: 2 });
    expect(worker.wishes).toEqual([
      { match, service: SERVICE_REALTIME },
      { match, service: null },
    ]);
  });

  test('of none is refused', async () => {
    worker.matching = 0;
    await expect(control.setFlows({ ...which, service: 'realtime' })).rejects.toMatchObject({
      code: 'not-found',
    });
  });
});

test('a reload puts services and the outer DSCP in force, and names them', () => {
  const directory = mkdtempSync(join(tmpdir(), 'cw-agent-control-'));
  try {
    const file = join(directory, 'a.yaml');
    const base = 'node: a\npki: {ca: ca.crt, cert: a.crt, key: a.key}\n';
    writeFileSync(file, base);
    const reconfigure = vi.fn<(config: Config) => void>();
    const started = new AgentControl(loadConfig(file), { now: () => 0 } as never, () => undefined);
    started.attach({ agent: { reconfigure }, log: pino({ level: 'silent' }) } as never);
    writeFileSync(file, `${base}services: {default: {udp: realtime}}\nlinks: {outer_dscp: copy}\n`);
    expect(started.reload()).toEqual({ applied: ['services.default', 'links.outer_dscp'], restart: [] });
    expect(reconfigure.mock.lastCall?.[0]).toMatchObject({
      services: { default: { tcp: SERVICE_RELIABLE, udp: SERVICE_REALTIME } },
      links: { outerDscp: 'copy', split: true },
    });
    expect(started.reload()).toEqual({ applied: [], restart: [] });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("a link's recovery is shown as the worker reports it, and as null where there is none", async () => {
  const link: LinkReport = {
    ...{
      peer: 2,
      name: 'b',
      state: 'up',
      endpoint: { host: '192.0.2.2', port: 7100 },
      paths: [
        { endpoint: { host: '192.0.2.2', port: 7100 }, active: true, rtt: 2000, answeredAgo: 1e6 },
        { endpoint: { host: '192.0.2.9', port: 7100 }, active: false, rtt: 0, answeredAgo: Infinity },
      ],
      cipher: 'aes-256-gcm',
    },
    ...{ health: 'good', healthMicros: 1, lossOut: 0, lossIn: 0 },
    ...{ rttMicros: 1, baseRttMicros: 1, sinceMicros: 1, sessionAgeMicros: 1, datagramMax: 1452 },
    ...{ packetsSent: 0, bytesSent: 0, packetsReceived: 0, bytesReceived: 0 },
  };
  worker.links = [
    { ...link, recovery: RECOVERY },
    { ...link, name: 'c' },
  ];
  expect((await control.links()).map(({ recovery }) => recovery)).toEqual([RECOVERY, null]);
});
