/** The forwarding worker's thread: opens device and socket when it is told to, says so, then takes packets and messages until it is to stop. */
import { randomBytes } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { type Io, IoError } from '../../io/ports.js';
import type { FromWorker, ToWorker, WorkerOptions } from '../messages.js';
import { ForwardingWorker } from './forwarding-worker.js';
import { loadIo } from './io.js';
import { warmUp } from './warm-up.js';
import {
  KEY_SLOTS,
  MAX_NEIGHBOURS,
  SCHEDULING_SLICE,
  SOCKET_RECEIVE_BUFFER,
  SOCKET_SEND_BUFFER,
} from './sizes.js';

async function open(
  options: WorkerOptions,
): Promise<{ worker: ForwardingWorker; ready: FromWorker; io: Io }> {
  const io = await loadIo(options.plain);
  io.setSlice(SCHEDULING_SLICE);
  const { host, port } = options.listen;
  const udp = await io.createUdp({
    host,
    port,
    mark: options.mark,
    slots: MAX_NEIGHBOURS + 1,
    receiveBuffer: SOCKET_RECEIVE_BUFFER,
    sendBuffer: SOCKET_SEND_BUFFER,
  });
  const tun = io.createTun(options.tun);
  const aead = io.createAead(KEY_SLOTS);
  const random = () => randomBytes(4).readUInt32LE();
  const raw = options.intercept && io.createRaw(options.intercept.resentMark);
  const worker = new ForwardingWorker({ io, tun, udp, aead, ...(raw && { raw }), post, random }, options);
  const { kind } = io;
  const ready = {
    type: 'ready',
    port: udp.port,
    kind,
    engine: aead.engine,
    tun: tun.features,
    udp: udp.features,
  } as const;
  return { worker, ready, io };
}

function post(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  parentPort!.postMessage(message, transfer);
}

async function run(options: WorkerOptions): Promise<void> {
  const { worker, ready, io } = await open(options);
  const stopWarmUp = warmUp(io);
  parentPort!.on('message', (message: ToWorker) => {
    worker.receive(message);
    if (message.type !== 'stop') return;
    stopWarmUp();
    parentPort!.close();
  });
  post(ready);
  worker.start();
}

parentPort!.once('message', (options: WorkerOptions) => {
  run(options).catch((error: unknown) => {
    const { message, code, syscall } =
      error instanceof IoError ? error : new IoError(String(error), 'EIO', '');
    post({ type: 'fatal', code, message, syscall });
  });
});
