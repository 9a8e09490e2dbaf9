/** What the demo shows, in order; one line a step with what was measured, then a table. */
import { randomBytes } from 'node:crypto';
import { countUdp, occurrences, startCapture } from './capture.mjs';
import { curl, iperf3, median, ping, serveFile, ssh, startPing, traceroute } from './programs.mjs';
import { sleep, Stage, until } from './stage.mjs';

const FROM = 'lisbon';
const TO = 'berlin';
const AGENT_PORT = 7100;
/** Of packets, on the wire that is made lossy. */
const LOSS = '2%';
const FILE_SIZE = 16 * 1024 * 1024;

const MAP = `
    lisbon ─── 13 ms ─── paris ─── 7 ms ─── berlin
       \\                   │                  │
      16 ms              4 ms               9 ms
         \\                 │                  │
          └───────────── london ── 12 ms ── oslo       (london – oslo loses 0.5 %)
`;

/** Runs all of it; resolves with the exit code. */
export async function runDemo() {
  if (process.getuid() !== 0) {
    process.stderr.write('demo: making network namespaces needs root: run "sudo make demo"\n');
    return 1;
  }
  process.stdout.on('error', () => undefined); // a reader that went away is no reason to leave hosts behind
  const stage = new Stage();
  let interrupted = false;
  for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 })) {
    process.on(signal, async () => {
      if (interrupted) return;
      interrupted = true;
      process.stdout.write('\ninterrupted: taking the hosts down …\n');
      await stage.close();
      process.stdout.write('nothing is left\n');
      process.exit(code);
    });
  }
  const story = new Story(stage);
  try {
    await story.tell();
  } catch (error) {
    if (!interrupted) story.fail('demo', error);
  }
  if (interrupted) return new Promise(() => undefined); // the signal's handler ends the process
  await stage.close();
  story.end();
  return story.failures === 0 ? 0 : 1;
}

class Story {
  failures = 0;
  #began = performance.now();
  #rows = [];

  constructor(stage) {
    this.stage = stage;
  }

  async tell() {
    console.log(
      `Causeway: five hosts, wires as between cities; an agent on each, programs that know nothing of it\n${MAP}`,
    );
    await this.#step('hosts', () => this.#hosts());
    if (this.failures > 0) return;
    await this.#step('alone', () => this.#baseline());
    await this.#step('ping', () => this.#ping());
    await this.#step('traceroute', () => this.#traceroute());
    await this.#step('curl', () => this.#curl());
    await this.#step('ssh', () => this.#ssh());
    await this.#step('iperf3', () => this.#iperf3());
    await this.#step('lossy wire', () => this.#lossy());
    await this.#step('cut a wire', () => this.#cut());
  }

  fail(name, error) {
    this.failures++;
    console.log(`✗ ${name.padEnd(11)} ${error.message}`);
  }

  end() {
    if (this.#rows.length > 0) {
      console.log();
      printTable([[`${FROM} → ${TO}`, 'through Causeway', 'to compare'], ...this.#rows]);
    }
    const seconds = ((performance.now() - this.#began) / 1000).toFixed(0);
    const outcome = this.failures === 0 ? 'all of it worked' : `${this.failures} of it failed`;
    console.log(`\n${outcome}; ${seconds} s; hosts, programs and files are gone again`);
  }

  /** A step says what it saw; `[text, row?]`, where a row goes into the table. */
  async #step(name, act) {
    try {
      for (const [text, row, title = name] of await act()) {
        console.log(`✓ ${title.padEnd(11)} ${text}`);
        if (row) this.#rows.push(row);
      }
    } catch (error) {
      if (this.stage.isClosing) throw error;
      this.fail(name, error);
    }
  }

  async #hosts() {
    const began = performance.now();
    this.status = await this.stage.open();
    const joined = async () => {
      const routes = JSON.parse(await this.stage.causeway(FROM, 'routes'));
      return new Set(routes.map(({ owner }) => owner)).size === Object.keys(this.status.nodes).length;
    };
    await until(joined, `${FROM} knowing the way to everyone`);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const { nodes, links } = this.status;
    return [[`${Object.keys(nodes).length} hosts, ${links.length} wires, agents joined: ${seconds} s`]];
  }

  /** The wires alone lead nowhere beyond the next host. */
  async #baseline() {
    const { stage } = this;
    const outer = Object.values(stage.node(TO).underlay)[0].address;
    const reached = await ping(stage, FROM, outer, 1).catch(() => undefined);
    if (reached)
      throw new Error(`${FROM} reaches ${outer} on ${TO} without Causeway; the demo would prove nothing`);
    return [
      [`${FROM} and ${TO} have no common wire and no router: without Causeway, ${outer} is unreachable`],
    ];
  }

  async #ping() {
    const { stage } = this;
    const [four, six] = stage.node(TO).overlay;
    const one = await ping(stage, FROM, four);
    const other = await ping(stage, FROM, six, 5);
    if (one.received < one.sent - 1) throw new Error(`${one.received} of ${one.sent} pings answered`);
    const rtt = `${median(one.times).toFixed(1)} ms`;
    const least = `${2 * leastDelay(this.status.links, FROM, TO)} ms`;
    const text = `${four}: ${rtt}, ${one.received} of ${one.sent} answered; ${six}: ${median(other.times).toFixed(1)} ms`;
    return [[text, ['ping', rtt, `${least}: the wires' own delays`]]];
  }

  async #traceroute() {
    const hops = await traceroute(this.stage, FROM, this.stage.address(TO));
    const names = hops.map(({ hop }) => this.#nameOf(hop));
    if (names.at(-1) !== TO) throw new Error(`ends at ${names.at(-1)}`);
    const text = hops.map(({ ms }, i) => `${i + 1} ${names[i]} ${ms.toFixed(1)} ms`).join(', ');
    return [[text, ['traceroute', names.join(', '), 'no way at all without it']]];
  }

  #nameOf(address) {
    const found = Object.entries(this.status.nodes).find(([, { overlay }]) => overlay.includes(address));
    return found?.[0] ?? address;
  }

  /** A transfer, watched on the first wire and, to show that the watching works, on the TUN device before it. */
  async #curl() {
    const { stage } = this;
    const marker = `in-clear-${randomBytes(8).toString('hex')}`;
    const served = await serveFile(stage, TO, stage.address(TO), marker, FILE_SIZE);
    const wires = Object.values(stage.node(FROM).underlay).map(({ interface: device }) => device);
    const captures = await Promise.all([...wires, 'cw0'].map((device) => startCapture(stage, FROM, device)));
    const fetched = await curl(stage, FROM, `http://${stage.address(TO)}/file`);
    const taken = await Promise.all(captures.map((capture) => capture.stop()));
    if (fetched.sha256 !== served.sha256)
      throw new Error(`${fetched.bytes} bytes arrived, but not those that nginx has`);
    const rate = `${((fetched.bytes * 8) / fetched.seconds / 1e6).toFixed(0)} Mbit/s`;
    const size = `${fetched.bytes / 2 ** 20} MiB`;
    const digest = fetched.sha256.slice(0, 12);
    const web = `${size} from nginx in ${fetched.seconds.toFixed(1)} s, ${rate}, SHA-256 ${digest}… at both ends`;
    return [
      [web, ['curl from nginx', `${size} at ${rate}, intact`, this.#bottleneck()]],
      secrecy(taken, marker, served.markers),
    ];
  }

  async #ssh() {
    const { stage } = this;
    const output = await ssh(stage, FROM, TO, 'echo "$(hostname) $SSH_CONNECTION"');
    const [name, client, , server] = output.split(' ');
    if (client !== stage.address(FROM) || server !== stage.address(TO))
      throw new Error(`sshd saw "${output}"`);
    return [
      [
        `"hostname" ran there and said "${name}"; its sshd saw ${client} call ${server}`,
        ['ssh', `${name} answers`, ''],
      ],
    ];
  }

  async #iperf3() {
    const rate = `${(await iperf3(this.stage, FROM, TO)).toFixed(0)} Mbit/s`;
    this.cleanRate = rate;
    return [[`one TCP stream: ${rate}`, ['iperf3', rate, this.#bottleneck()]]];
  }

  /** The same while the first wire loses packets, which TCP alone takes for congestion. */
  async #lossy() {
    const { stage } = this;
    const [via] = await this.#path();
    await stage.link(FROM, via, '--loss', LOSS);
    try {
      const before = await this.#repaired(via);
      const rate = `${(await iperf3(stage, FROM, TO)).toFixed(0)} Mbit/s`;
      const repaired = (await this.#repaired(via)) - before;
      if (repaired === 0) throw new Error(`nothing was sent again, though ${FROM} – ${via} loses ${LOSS}`);
      const text = `${FROM} – ${via} loses ${LOSS}: one TCP stream ${rate}; ${repaired} packets were sent again, on that wire alone`;
      return [[text, [`iperf3, ${LOSS} lost`, rate, `${this.cleanRate} without loss`]]];
    } finally {
      await stage.link(FROM, via, '--loss', '0%');
    }
  }

  /** Packets that this host's agent has sent again to a neighbour. */
  async #repaired(neighbour) {
    const links = JSON.parse(await this.stage.causeway(FROM, 'links'));
    return links.find(({ peer }) => peer === neighbour)?.recovery?.retransmissions ?? 0;
  }

  #bottleneck() {
    const rates = this.status.links
      .filter(({ between }) => between.includes(FROM))
      .map((link) => link.rate_mbit);
    return `${Math.max(...rates)} Mbit/s: the thinnest wire`;
  }

  /** Cuts the wire that is in use while a ping goes on. */
  async #cut() {
    const { stage } = this;
    const before = await this.#path();
    const running = startPing(stage, FROM, stage.address(TO));
    await sleep(1000);
    await stage.link(FROM, before[0], '--down');
    await sleep(3000);
    const { times, silence } = await running.stop();
    const after = await this.#path();
    if (after[0] === before[0])
      throw new Error(`still goes by ${before[0]}, ${FROM}'s wire to which is down`);
    const rtt = median(times.slice(-20)).toFixed(1);
    const quiet = silence < 1 ? `${Math.round(silence * 1000)} ms` : `${silence.toFixed(1)} s`;
    const text = `${FROM} – ${before[0]} down: ping silent for ${quiet}, then by ${after.join(', ')} in ${rtt} ms`;
    return [
      [text, [`wire to ${before[0]} cut`, `${quiet} later by ${after.join(', ')}`, 'silence for good']],
    ];
  }

  /** The nodes on the way, the last one `TO`. */
  async #path() {
    const output = await this.stage.causeway(FROM, 'ping', TO, '-n', '3', '-i', '0.2');
    const events = output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const reply = events.findLast(({ type }) => type === 'reply');
    if (!reply) throw new Error(`causeway ping ${TO}: no answer`);
    return reply.pathThere;
  }
}

/** What the wires carried during the transfer. `taken`: their captures, the TUN device's last. */
function secrecy(taken, marker, markers) {
  const inside = occurrences(taken.at(-1), marker);
  const wires = taken.slice(0, -1);
  const leaked = wires.reduce((sum, pcap) => sum + occurrences(pcap, marker), 0);
  const counts = wires.map((pcap) => countUdp(pcap, AGENT_PORT));
  const udp = counts.reduce((sum, each) => sum + each.udp, 0);
  const bytes = counts.reduce((sum, each) => sum + each.bytes, 0);
  if (inside < markers / 2)
    throw new Error(`tcpdump found the file's marker only ${inside} times where it is in clear`);
  if (bytes < FILE_SIZE) throw new Error(`only ${bytes} bytes were seen on the wires`);
  if (leaked > 0) throw new Error(`the file's marker was on the wires ${leaked} times in clear`);
  const seen = `${udp} UDP packets, ${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const text = `on ${FROM}'s wires: ${seen}, the file's marker ${leaked} times; before the agent: ${inside} times`;
  return [
    text,
    ['tcpdump on the wires', `marker ${leaked} times in clear`, `${inside} times before the agent`],
    'tcpdump',
  ];
}

/** ms one way, along the links' configured delays. */
function leastDelay(links, from, to) {
  const reached = new Map([[from, 0]]);
  for (let round = 0; round < links.length; round++) {
    for (const { between, delay_ms: delay } of links) {
      for (const [a, b] of [between, [...between].reverse()]) {
        if (reached.has(a)) reached.set(b, Math.min(reached.get(b) ?? Infinity, reached.get(a) + delay));
      }
    }
  }
  return reached.get(to);
}

function printTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('   ')
      .trimEnd();
  const [head, ...rest] = rows.map(line);
  console.log([head, widths.map((width) => '─'.repeat(width)).join('   '), ...rest].join('\n'));
}
