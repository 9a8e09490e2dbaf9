import { request } from 'node:http';
import { hostname } from 'node:os';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MetricsServer } from '../../../src/control/index.js';
import { isHostAllowed } from '../../../src/control/metrics.js';
import { FakeAgent } from '../../support/control/agent.js';

let server: MetricsServer;
let port: number;
beforeEach(async () => {
  server = new MetricsServer(new FakeAgent(), { host: '127.0.0.1', port: 0, text: '127.0.0.1:0' });
  port = await server.listen();
});
afterEach(() => server.close());

function scrape(
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, path, headers, method, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve([response.statusCode!, text]));
    });
    outgoing.on('error', reject).end();
  });
}

test("a scrape shows the agent's numbers, the same at the second as at the first", async () => {
  const [status, text] = await scrape('/metrics');
  expect(status).toBe(200);
  for (const line of [
    'causeway_ready 1',
    'causeway_info{node="a",version="0.1.0",io="native",engine="test"} 1',
    'causeway_packets_total{direction="tun_in"} 1',
    'causeway_bytes_total{direction="relayed"} 500',
    'causeway_drops_total{reason="no-route"} 7',
    'causeway_peer_connected{peer="b"} 1',
    'causeway_peer_connected{peer="c"} 0',
    'causeway_link_rtt_seconds{peer="b"} 0.0204',
    'causeway_link_bytes_total{peer="b",direction="in"} 1100',
    'causeway_link_loss_ratio{peer="b",direction="out",stage="before"} 0.0123',
    'causeway_link_loss_ratio{peer="b",direction="in",stage="before"} 0',
    'causeway_link_queue_seconds{peer="b"} 0.0015',
    'causeway_link_retransmissions_total{peer="b"} 12',
    'causeway_link_queue_drops_total{peer="b"} 6',
  ]) {
    expect(text.split('\n')).toContain(line);
  }
  expect(text).not.toContain('direction="in",stage="after"'); // not known
  expect((await scrape('/metrics'))[1]).toBe(text);
});

test("a browser's request under a name that isn't ours is refused", async () => {
  expect((await scrape('/metrics', { host: 'evil.example:9478' }))[0]).toBe(403);
  expect((await scrape('/', {}))[0]).toBe(404);
  expect((await scrape('/metrics', {}, 'POST'))[0]).toBe(405);
});

test.each([
  ['127.0.0.1:9478', true],
  ['[::1]:9478', true],
  ['192.0.2.1', true],
  ['localhost:9478', true],
  [hostname(), true],
  ['evil.example', false],
  ['127.0.0.1.evil.example:9478', false],
  ['', false],
  [undefined, false],
])('host %s: allowed is %s', (host, allowed) => {
  expect(isHostAllowed(host)).toBe(allowed);
});

test('a port in use is named with the key', async () => {
  const second = new MetricsServer(new FakeAgent(), { host: '127.0.0.1', port, text: `127.0.0.1:${port}` });
  await expect(second.listen()).rejects.toThrow(
    `control.metrics can't listen at 127.0.0.1:${port} (EADDRINUSE); name another port`,
  );
});
