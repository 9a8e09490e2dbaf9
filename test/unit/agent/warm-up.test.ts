import { expect, it, vi } from 'vitest';
import type { WorkerReport } from '../../../src/agent/messages.js';
import { ForwardingWorker } from '../../../src/agent/worker/forwarding-worker.js';
import { loadIo } from '../../../src/agent/worker/io.js';
import { nativeAvailable } from '../../../src/io/native.js';
import { warmUp } from '../../../src/agent/worker/warm-up.js';

it('the warm-up takes packets of every service both ways, and recovers lost ones', async () => {
  const io = await loadIo(!nativeAvailable());
  const reports: WorkerReport[] = [];
  const { receive: original } = ForwardingWorker.prototype;
  const receive = vi.spyOn(ForwardingWorker.prototype, 'receive').mockImplementation(function (
    this: ForwardingWorker,
    message,
  ) {
    if (message.type === 'stop') reports.push(this['report'](io.now()));
    original.call(this, message);
  });
  await warmUp(io);
  receive.mockRestore();
  expect(reports.length).toBeGreaterThan(0);
  for (const { links, drops } of reports) {
    const { recovery, packetsReceived } = links[0]!;
    expect(packetsReceived).toBeGreaterThan(2000);
    expect(recovery!.retransmissions).toBeGreaterThan(5);
    expect(recovery!.out.before).toBeGreaterThan(0);
    expect(drops.forged + drops['frame-malformed'] + drops['foreign-source']).toBe(0);
  }
});
