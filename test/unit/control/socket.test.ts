import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ControlClient, ControlServer } from '../../../src/control/index.js';
import type { PingEvent } from '../../../src/control/index.js';
import { FakeAgent, FLOWS, STATUS } from '../../support/control/agent.js';

let directory: string;
let path: string;
let agent: FakeAgent;
let server: ControlServer;
let faults: unknown[];
let client: ControlClient;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cw-control-'));
  path = join(directory, 'sub', 'causeway.sock');
  agent = new FakeAgent();
  faults = [];
  server = new ControlServer(agent, path, (error) => faults.push(error));
  client = new ControlClient(path);
  await server.listen();
});
afterEach(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

const ask = { target: 'c', count: 3, intervalMs: 100, timeoutMs: 100 };

async function collect(target: string, count = 3): Promise<PingEvent[]> {
  const events: PingEvent[] = [];
  for await (const event of client.ping({ ...ask, target, count }, new AbortController().signal))
    events.push(event);
  return events;
}

/** A request as no client of ours makes it: status and body. */
function raw(method: string, url: string, body = ''): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath: path, method, path: url, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve([response.statusCode!, text]));
    });
    outgoing.on('error', reject).end(body);
  });
}

describe('the socket', () => {
  test("is its owner's alone", () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test('a second agent is refused while the first one lives, and the first goes on', async () => {
    await expect(new ControlServer(agent, path).listen()).rejects.toMatchObject({
      code: 'EALREADY',
      message: `an agent is already running at ${path}; stop it with "causeway down -s ${path}"`,
    });
    expect(await client.status()).toEqual(STATUS);
  });

  test('a socket that nobody serves any more is taken over', async () => {
    const stale = join(directory, 'stale.sock');
    await leaveStale(stale);
    const second = new ControlServer(agent, stale);
    await second.listen();
    expect((await new ControlClient(stale).status()).node).toBe('a');
    await second.close();
  });

  test('a file that is no socket is left alone', async () => {
    const file = join(directory, 'file');
    writeFileSync(file, 'precious');
    await expect(new ControlServer(agent, file).listen()).rejects.toMatchObject({ code: 'EIO' });
    expect(existsSync(file)).toBe(true);
  });

  test('is gone after close', async () => {
    await server.close();
    expect(existsSync(path)).toBe(false);
    await expect(client.status()).rejects.toMatchObject({
      code: 'ENOAGENT',
      message: `no agent at ${path}; start one with "causeway up -c FILE"`,
    });
    await server.listen();
  });
});

/** A socket file whose server went without removing it, as after SIGKILL. */
async function leaveStale(stale: string): Promise<void> {
  const { spawnSync } = await import('node:child_process');
  const script = `require('net').createServer().listen(${JSON.stringify(stale)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  expect(existsSync(stale)).toBe(true);
}

describe('calls', () => {
  test('arrive as the agent answered them', async () => {
    expect(await client.status()).toEqual(agent.status());
    expect(await client.peers()).toEqual(agent.peers());
    expect(await client.links()).toEqual(agent.links());
    expect(await client.routes()).toEqual(agent.routes());
    expect(await client.doctor()).toEqual(agent.doctor());
    expect(await client.flows({ direction: 'both' })).toEqual(FLOWS);
    const set = { protocol: 'tcp', source: '*', destination: '*', service: 'reliable' as const };
    expect(await client.setFlows(set)).toEqual({ flows: 2 });
    expect(agent.asked).toEqual(set);
  });

  test.each([
    ['/v1/flows', {}, 'direction: '],
    ['/v1/flows', { direction: 'out', to: 5 }, 'to: '],
    ['/v1/flows/set', { protocol: 'tcp', source: '*', destination: '*' }, 'service: '],
    [
      '/v1/flows/set',
      { protocol: 'tcp', source: '*', destination: '*', service: 'intrusion-tolerant' },
      'service: ',
    ],
    [
      '/v1/flows/set',
      { protocol: 'x'.repeat(65), source: '*', destination: '*', service: null },
      'protocol: ',
    ],
  ])('%s of %j is refused with the key', async (path, request, message) => {
    expect(await raw('POST', path, JSON.stringify(request))).toEqual([400, expect.stringContaining(message)]);
    expect(agent.asked).toBeUndefined();
  });

  test('a refusal keeps its code and its line', async () => {
    await expect(client.reload()).rejects.toMatchObject({
      name: 'ApiError',
      code: 'bad-request',
      message: '/etc/causeway/a.yaml:3:1: tun.nam: unknown key; did you mean "name"?',
    });
    expect(faults).toEqual([]);
  });

  test('stop is answered', async () => {
    await client.stop();
    expect(agent.stopped).toBe(1);
  });

  test('a fault of the agent is answered and reported', async () => {
    agent.status = () => {
      throw new TypeError('oops');
    };
    await expect(client.status()).rejects.toMatchObject({
      code: 'failed',
      message: 'the agent failed: oops',
    });
    expect(faults).toHaveLength(1);
  });

  test('unknown paths, wrong methods, bad JSON and bodies without end are refused', async () => {
    expect((await raw('GET', '/v2/status'))[0]).toBe(404);
    expect((await raw('GET', '/v1/stop'))[0]).toBe(404);
    expect(await raw('POST', '/v1/ping', '{')).toEqual([
      400,
      expect.stringContaining('the request is not JSON'),
    ]);
    expect(await raw('POST', '/v1/ping', '{"target":"c"}')).toEqual([
      400,
      expect.stringContaining('count: '),
    ]);
    expect(await raw('POST', '/v1/ping', JSON.stringify({ ...ask, intervalMs: 1 }))).toEqual([
      400,
      expect.stringContaining('intervalMs: the interval is at least 10 ms'),
    ]);
    expect((await raw('POST', '/v1/stop', 'x'.repeat(70_000)))[0]).toBe(400);
    expect(agent.stopped).toBe(0);
  });
});

describe('ping', () => {
  test('streams every event in order', async () => {
    expect(await collect('c')).toEqual([
      { type: 'start', target: 'c', node: 'c', nodeId: 3, hops: 2 },
      { type: 'reply', number: 1, rttMicros: 1000, pathThere: ['b', 'c'], pathBack: ['b', 'a'] },
      { type: 'lost', number: 2, reason: 'timeout' },
      { type: 'reply', number: 3, rttMicros: 3000, pathThere: ['b', 'c'], pathBack: ['b', 'a'] },
    ]);
  });

  test('an unknown target is a refusal', async () => {
    await expect(collect('x')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('a fault in the middle comes after what came before', async () => {
    const events: PingEvent[] = [];
    const run = async (): Promise<void> => {
      for await (const event of client.ping({ ...ask, target: 'broken' }, new AbortController().signal))
        events.push(event);
    };
    await expect(run()).rejects.toMatchObject({
      code: 'failed',
      message: 'the agent failed: the floor gave way',
    });
    expect(events.map(({ type }) => type)).toEqual(['start', 'reply']);
  });

  test('ends quietly when aborted, and the agent hears of it', async () => {
    const abort = new AbortController();
    let count = 0;
    for await (const event of client.ping({ ...ask, count: 0 }, abort.signal)) {
      if (event.type === 'reply' && ++count === 2) abort.abort();
    }
    expect(count).toBeGreaterThanOrEqual(2);
    await vi.waitFor(() => expect(agent.aborted).toBe(1));
  });
});

test.each([
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi',
  'HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\n{}',
  '220 mail.example ESMTP\r\n',
])('another program at the socket is told apart from an agent: %j', async (greeting) => {
  const other = join(directory, 'other.sock');
  const stranger = createServer((socket) => socket.once('data', () => socket.end(greeting)));
  await new Promise<void>((resolve) => stranger.listen(other, resolve));
  await expect(new ControlClient(other).status()).rejects.toMatchObject({ code: 'EPROTOCOL' });
  await new Promise((resolve) => stranger.close(resolve));
});
