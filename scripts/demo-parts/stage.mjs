/**
 * Where the demo plays: a test mesh, a temporary folder, and the programs started meanwhile. Whatever happens, `close` ends all
 * of them, by the pids that were started here.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const scripts = join(dirname(fileURLToPath(import.meta.url)), '..');
const meshTool = join(scripts, 'netns', 'mesh');
const causewayTool = join(scripts, '..', 'bin', 'causeway');
const exampleFile = join(scripts, 'netns', 'examples', 'demo.yaml');

const END_PATIENCE_MS = 3000;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Polls until `condition` holds. Rejects, naming `what`, after `timeoutMs`. */
export async function until(condition, what, timeoutMs = 10_000) {
  const end = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${timeoutMs / 1000} s`);
    await sleep(50);
  }
}

export class Stage {
  /** Of this run only, so that the demo never meets a mesh that is up. */
  mesh = `demo${process.pid}`;
  folder = mkdtempSync(join(tmpdir(), 'causeway-demo-'));
  #children = new Set();
  #closing;
  #status;

  /** Brings the five hosts up. Resolves with what `mesh status --json` says. */
  async open() {
    const file = join(this.folder, 'mesh.yaml');
    writeFileSync(file, readFileSync(exampleFile, 'utf8').replace(/^name: .*$/m, `name: ${this.mesh}`));
    await this.run([meshTool, 'up', file], { timeoutMs: 120_000 });
    this.#status = JSON.parse(await this.run([meshTool, '-m', this.mesh, 'status', '--json']));
    return this.#status;
  }

  /** The same promise for everyone who asks: ends programs, hosts and folder. */
  close() {
    this.#closing ??= this.#endAll();
    return this.#closing;
  }

  get isClosing() {
    return this.#closing !== undefined;
  }

  node(name) {
    return this.#status.nodes[name];
  }

  /** Overlay address, IPv4. */
  address(name) {
    return this.node(name).overlay[0];
  }

  /** Sets what isn't said to stay: `stage.link('a', 'b', '--down')`. */
  link(a, b, ...change) {
    return this.run([meshTool, '-m', this.mesh, 'link', a, b, ...change]);
  }

  /** The agent of `name` answers a `causeway` command with JSON, a value a line. */
  async causeway(name, ...words) {
    const output = await this.run([causewayTool, ...words, '--json', '-s', this.node(name).socket]);
    return output;
  }

  /** Runs a program on a host to its end; resolves with its standard output. */
  on(host, ...words) {
    return this.run(this.#inside(host, words));
  }

  /** Starts a program on a host that goes on until it is ended. */
  start(host, ...words) {
    return this.#spawn(this.#inside(host, words));
  }

  /** Runs a program to its end. Rejects with what it wrote on standard error, also where it takes longer than `timeoutMs`. */
  async run(words, { timeoutMs = 40_000 } = {}) {
    const child = this.#spawn(words);
    const timer = setTimeout(() => child.process.kill('SIGTERM'), timeoutMs);
    const code = await child.ended;
    clearTimeout(timer);
    if (code === 0) return child.stdout();
    const name = words[0] === 'ip' ? words.slice(4).join(' ') : words.join(' ');
    throw new Error(
      `${name}: ${lastLine(child.stderr()) || lastLine(child.stdout()) || `ended with ${code}`}`,
    );
  }

  #inside(host, words) {
    return ['ip', 'netns', 'exec', this.node(host).namespace, ...words];
  }

  /** In a process group of its own: Ctrl-C reaches the demo alone, which then ends things in order. */
  #spawn([command, ...args]) {
    if (this.#closing) throw new Error('the demo is over');
    const process = spawn(command, args, { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    process.stdout.on('data', (text) => (out += text));
    process.stderr.on('data', (text) => (err += text));
    const child = { process, stdout: () => out, stderr: () => err };
    child.ended = new Promise((resolve) => {
      process.on('close', (code, signal) => resolve(code ?? signal));
      process.on('error', (error) => {
        err += error.message;
        resolve(127);
      });
    }).finally(() => this.#children.delete(child));
    child.end = (signal) => endChild(child, signal);
    this.#children.add(child);
    return child;
  }

  async #endAll() {
    await Promise.all([...this.#children].map((child) => child.end('SIGTERM')));
    const mesh = (...words) =>
      new Promise((resolve) => {
        const child = spawn(meshTool, words, { detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
        let out = '';
        child.stdout.on('data', (text) => (out += text));
        child.on('close', () => resolve(out));
        child.on('error', () => resolve(''));
      });
    const up = await mesh('list', '--json');
    if (up.includes(`"${this.mesh}"`)) await mesh('down', this.mesh);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Asks a program to end, and insists after a while. `mesh up` cleans up after itself, which takes longer than others need. */
async function endChild(child, signal = 'SIGTERM') {
  const patience = child.process.spawnfile === meshTool ? 10 * END_PATIENCE_MS : END_PATIENCE_MS;
  child.process.kill(signal);
  const insist = setTimeout(() => child.process.kill('SIGKILL'), patience);
  await child.ended;
  clearTimeout(insist);
}

function lastLine(text) {
  return text.trim().split('\n').at(-1) ?? '';
}
