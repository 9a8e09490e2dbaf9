import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { release, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { loadNative, nativeAvailable } from '../../../src/io/native.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const addon = process.env['CAUSEWAY_ADDON'] ?? path.join(root, 'build/Release/causeway.node');
const support = (name: string) => path.join(root, 'test/support', name);
const run = promisify(execFile);

/** A worker that answered; `until` picks the message to wait for. */
async function startWorker(data: object, until: (message: { port?: number; busy?: number }) => boolean) {
  const worker = new Worker(support('native-worker.mjs'), { workerData: { addon, ...data } });
  let port = 0;
  await new Promise<void>((resolve, reject) => {
    worker.on('error', reject);
    worker.on('message', (message: { port?: number; busy?: number }) => {
      port = message.port ?? port;
      if (until(message)) resolve();
    });
  });
  return { worker, port };
}

describe.skipIf(!nativeAvailable())('life and death of native resources', () => {
  it('a worker can be terminated while its sockets and timers are busy, again and again', async () => {
    for (let i = 0; i < 5; i++) {
      const { worker } = await startWorker({}, (message) => message.busy !== undefined);
      await worker.terminate();
    }
  });

  it('a terminated worker’s port is free again', async () => {
    const { worker, port } = await startWorker({ idle: true }, (message) => message.port !== undefined);
    const io = loadNative();
    const again = () => io.createUdp({ host: '127.0.0.1', port, mark: 0, slots: 0 });
    expect(again).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
    await worker.terminate();
    const socket = await again();
    expect(socket.port).toBe(port);
    socket.close();
  });

  it('several threads use the addon at once', async () => {
    const workers = await Promise.all(
      [1, 2, 3].map(() => startWorker({}, (message) => (message.busy ?? 0) > 100)),
    );
    await Promise.all(workers.map(({ worker }) => worker.terminate()));
  });

  it('an idle socket or an unarmed timer neither crashes nor hangs a process that ends', async () => {
    const script = `const a = require(${JSON.stringify(addon)});
      const t = a.timerOpen(() => console.log('never'));
      const u = a.udpOpen('127.0.0.1', 0, 0, 1, 0, 0, true, true); a.udpOnReadable(u.handle, () => {});
      a.timerOpen(() => {}); process.exitCode = 7; setTimeout(() => process.exit(), 10)`;
    await expect(run(process.execPath, ['-e', script])).rejects.toMatchObject({ code: 7 });
    const unarmed = `require(${JSON.stringify(addon)}).timerOpen(() => {})`;
    await run(process.execPath, ['-e', unarmed], { timeout: 10_000 });
  });

  it('an exception in a callback reaches uncaughtException, microtasks run after it, and the timer goes on', async () => {
    const script = `const a = require(${JSON.stringify(addon)}); const log = [];
      process.on('uncaughtException', (e) => log.push(e.message));
      let n = 0;
      const t = a.timerOpen(() => { n++; Promise.resolve().then(() => log.push('micro' + n)); if (n < 3) a.timerArm(t, 10);
        else { console.log(log.join()); setTimeout(() => { console.log(log.join()); process.exit() }, 5) }
        if (n === 1) throw new Error('thrown'); });
      a.timerArm(t, 10)`;
    const { stdout } = await run(process.execPath, ['-e', script]);
    expect(stdout.trim().split('\n').at(-1)).toBe('thrown,micro1,micro2,micro3');
  });

  it('survives the stress script', async () => {
    const { stdout } = await run(process.execPath, [support('native-stress.mjs'), addon, '7'], {
      timeout: 50_000,
    });
    expect(stdout).toBe('survived\n');
  });

  it('without a built addon: one IoError that names the remedy', async () => {
    const empty = path.join(root, 'does-not-exist.node');
    const before = process.env['CAUSEWAY_ADDON'];
    process.env['CAUSEWAY_ADDON'] = empty;
    try {
      const fresh = (await import(
        '../../../src/io/native.js?fresh' as string
      )) as typeof import('../../../src/io/native.js');
      expect(fresh.nativeAvailable()).toBe(false);
      expect(() => fresh.loadNative()).toThrow(
        expect.objectContaining({ code: 'ENOADDON', message: expect.stringMatching(/apt-get.*--plain/) }),
      );
    } finally {
      if (before === undefined) delete process.env['CAUSEWAY_ADDON'];
      else process.env['CAUSEWAY_ADDON'] = before;
    }
  });

  it('exports what native.ts declares', () => {
    const names = Object.keys(createRequire(import.meta.url)(addon) as object);
    expect(names).toEqual(
      expect.arrayContaining([
        'tunOpen',
        'udpOpen',
        'aeadOpen',
        'timerOpen',
        'segment',
        'copy',
        'now',
        'notify',
        'setSlice',
        'trim',
      ]),
    );
  });
});

/** This thread's scheduling slice, ns; undefined where the kernel doesn't show it. */
function ownSlice(): number | undefined {
  try {
    const shown = /^se\.slice\s*:\s*(\d+)/m.exec(readFileSync('/proc/thread-self/sched', 'latin1'));
    return shown === null ? undefined : Number(shown[1]);
  } catch {
    return undefined;
  }
}

describe.skipIf(!nativeAvailable())('clock, timer and service manager', () => {
  const before = process.env['NOTIFY_SOCKET'];
  afterEach(() => {
    if (before === undefined) delete process.env['NOTIFY_SOCKET'];
    else process.env['NOTIFY_SOCKET'] = before;
  });

  it('now() counts microseconds since boot, like /proc/uptime', async () => {
    const io = loadNative();
    const uptime = Number((await run('cat', ['/proc/uptime'])).stdout.split(' ')[0]) * 1e6;
    expect(Math.abs(io.now() - uptime)).toBeLessThan(2e6);
    const first = io.now();
    while (io.now() === first);
    expect(io.now()).toBeGreaterThan(first);
  });

  it('a timer fires once, not before its time; arming again replaces, disarming forgets', async () => {
    const io = loadNative();
    const fired: number[] = [];
    const timer = io.createTimer(() => fired.push(io.now()));
    const start = io.now();
    timer.arm(1);
    timer.arm(3000);
    await expect.poll(() => fired.length, { timeout: 5000 }).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(fired).toHaveLength(1);
    expect(fired[0]! - start).toBeGreaterThanOrEqual(3000);
    timer.arm(2000);
    timer.disarm();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(fired).toHaveLength(1);
    timer.arm(0);
    timer.close();
    timer.close();
    timer.arm(0);
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(fired).toHaveLength(1);
  });

  it('tells systemd’s socket, by path and by abstract name; without one it says no', async () => {
    const io = loadNative();
    delete process.env['NOTIFY_SOCKET'];
    expect(io.notify('READY=1')).toBe(false);
    process.env['NOTIFY_SOCKET'] = '/nonexistent/notify';
    expect(() => io.notify('READY=1')).toThrow(expect.objectContaining({ name: 'IoError', code: 'ENOENT' }));

    const folder = mkdtempSync(path.join(tmpdir(), 'cwio-'));
    const listener = `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.bind(sys.argv[1].replace('@','\\0',1) if sys.argv[1][0]=='@' else sys.argv[1])
print('bound',flush=True); print(s.recv(100).decode(),flush=True)`;
    try {
      for (const name of [path.join(folder, 'notify'), `@cwio-${process.pid}`]) {
        const child = execFile('python3', ['-c', listener, name]);
        const output: string[] = [];
        const ended = new Promise((resolve) => child.on('close', resolve));
        await new Promise<void>((resolve) =>
          child.stdout!.on('data', (text: string) => resolve(void output.push(text))),
        );
        process.env['NOTIFY_SOCKET'] = name;
        expect(io.notify('READY=1\nSTATUS=fine')).toBe(true);
        await ended;
        expect(output.join('')).toBe('bound\nREADY=1\nSTATUS=fine\n');
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('setSlice says whether the calling thread has the slice that it asked for; nonsense is false and changes nothing', () => {
    const io = loadNative();
    const [major, minor] = release().split('.').map(Number) as [number, number];
    try {
      const taken = io.setSlice(500);
      expect(taken).toBeTypeOf('boolean');
      if (major < 6 || (major === 6 && minor < 12)) expect(taken).toBe(false);
      for (const micros of [-1, NaN, Infinity, 1e300]) expect(io.setSlice(micros)).toBe(false);
      const shown = ownSlice();
      if (taken && shown !== undefined) expect(shown).toBe(500_000);
    } finally {
      expect(() => io.setSlice(0)).not.toThrow();
    }
  });

  it('says whether the CPU has AES instructions, as /proc/cpuinfo does', async () => {
    const { stdout } = await run('cat', ['/proc/cpuinfo']);
    expect(loadNative().cpu.aes).toBe(/^(flags|Features)\s*:.*\baes\b/m.test(stdout));
  });
});
