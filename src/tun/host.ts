/**
 * Applies a plan to the host and takes it back.
 *
 * 1. `prepare`, before the device exists: nobody has its name, and what a killed agent left under it goes.
 * 2. `apply`, with the device just created: link, addresses, routes, and the rule last.
 * 3. `setRouted`, as other nodes' subnets and real addresses come and go; `setMany` and `forgetDirect`, as rules change; `mend`, after others
 *    meddled.
 * 4. `revert`, before the device is closed.
 */
import { HostError, explain, ipRunner, runBatch, type IpOptions, type IpResult, type RunIp } from './ip.js';
import {
  type Entry,
  isOurs,
  isUnreachable,
  list,
  listRouting,
  missingLines,
  NOTHING_THERE,
} from './listing.js';
import { participantsOf } from './native-route.js';
import { loadNft, nftRunner, nftTableExists, readCounter, removeNftTables, type RunNft } from './nft.js';
import { MANY_COUNTER, type ManyLines } from './many-plan.js';
import { nftTable, planForgetDirect, planManyAnew, planNft, type NftInput } from './nft-plan.js';
import {
  ROUTE_PROTOCOL,
  SUPPRESS_PRIORITY,
  TABLE_USES,
  checkDeviceName,
  planHost,
  planRouteChange,
  routingTable,
  type HostInput,
  type HostPlan,
} from './plan.js';
import { senderTable } from './sender-plan.js';
import { readSetting, ROOT, Sysctls, type Setting } from './sysctl.js';

const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];

export interface Applied {
  /** What the host can't do and the agent can do without, a line each. */
  warnings: string[];
  /** Address families in use. */
  families: Family[];
}

/** What leads into the device beyond the overlay's prefixes, by what the mesh says. */
export interface Destinations {
  prefixes: readonly string[];
  /** Real addresses of other nodes. */
  real: readonly string[];
  /** Those that must not be reached past the overlay, which has no way to them now. */
  withheld?: readonly string[];
  exit: boolean;
}

/** What of the host is touched beside the device. */
export interface HostTools {
  ip: RunIp;
  nft: RunNft;
  sysctls: Pick<Sysctls, 'set' | 'restore'>;
}

export function hostTools(tunName: string, options: IpOptions = {}): HostTools {
  return { ip: ipRunner(options), nft: nftRunner(options), sysctls: new Sysctls(tunName) };
}

/** The host's side of interception for one device. Calls run one after another, in the order in which they were made. */
export class HostInterception {
  readonly #run: RunIp;
  #input: HostInput | undefined;
  #nft: NftInput | undefined;
  #families: Family[] = [];
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly tunName: string,
    private readonly tools: HostTools = hostTools(tunName),
  ) {
    this.#run = tools.ip;
  }

  /** Rejects with HostError 'name-taken' if an interface has the name, whoever made it. Else returns what it removed. */
  prepare(): Promise<string[]> {
    return this.#inTurn(async () => {
      await refuseTakenName(this.#run, this.tunName);
      return removeLeftovers(this.tunName, this.tools);
    });
  }

  /** Applies the plan; where that fails nothing of it stays, and it rejects with HostError. */
  apply(input: HostInput, nft?: NftInput): Promise<Applied> {
    return this.#inTurn(async () => {
      if (input.tun.name !== this.tunName)
        throw new HostError('bad-input', `${input.tun.name} isn't ${this.tunName}`);
      try {
        return await this.#apply(input, nft);
      } catch (error) {
        await removeLeftovers(this.tunName, this.tools).catch(() => undefined);
        throw error;
      }
    });
  }

  /**
   * Changes what is routed beyond the overlay's prefixes. `own`: this host's real addresses, which alone may be sources of packets to
   * others' real ones. Returns the addresses for which there is no such source. Rejects with HostError; may then be called again.
   */
  setRouted(to: Destinations, own: readonly string[] = []): Promise<string[]> {
    return this.#inTurn(async () => {
      if (this.#input === undefined) throw new Error('setRouted comes after apply');
      // What is withheld goes into the device as well, where it is refused: an unreachable route would fail filters by reverse path.
      const { withheld = [] } = to;
      const asked = [...to.real, ...withheld];
      const { participants, devices } = await participantsOf(this.#run, asked, own, this.#input.mark);
      for (const device of devices) this.#loosen(device);
      const wants = this.#input.participants !== undefined;
      const routed = {
        routed: to.prefixes,
        ...(wants && { participants }),
        ...(this.#input.exit !== undefined && { exit: to.exit }),
      };
      const { add, remove } = planRouteChange(this.#input, routed);
      // Where a replace fails the old list stays in force: the next call repeats what was done, to the same end.
      for (const family of this.#families) {
        await runBatch(this.#run, family, add[family]);
        await removeLines(this.#run, family, remove[family]);
      }
      this.#input = { ...this.#input, ...routed };
      return participants
        .filter(({ address, source }) => source === undefined && !withheld.includes(address))
        .map(({ address }) => address);
    });
  }

  /** Resolves when everything that was asked for so far has been done, or has failed. */
  settled(): Promise<void> {
    return this.#inTurn(() => Promise.resolve());
  }

  /** Has every flow that was sent directly asked about again. */
  forgetDirect(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#nft?.capture !== undefined) await loadNft(this.tools.nft, planForgetDirect(this.tunName));
    });
  }

  /** Changes what is said of packets to many hosts, where packets are captured. Rejects with HostError; then what was in force stays. */
  setMany(many: ManyLines): Promise<void> {
    return this.#inTurn(async () => {
      const before = this.#nft;
      if (this.#input === undefined || before?.capture === undefined) return;
      this.#nft = { ...before, capture: { ...before.capture, many } };
      try {
        const mended = await this.#mendNft();
        if (mended.length === 0) await loadNft(this.tools.nft, planManyAnew(this.tunName, many));
      } catch (error) {
        this.#nft = before;
        throw error;
      }
    });
  }

  /** Packets to many hosts that rules dropped, since nftables have our table. */
  async droppedToMany(): Promise<number> {
    return this.#nft?.capture === undefined ? 0 : readCounter(this.tools.nft, this.tunName, MANY_COUNTER);
  }

  /** Puts back what others took away. Returns a line for each thing; rejects with HostError, 'no-device' where the device has gone. */
  mend(): Promise<string[]> {
    return this.#inTurn(async () => {
      if (this.#input === undefined) return [];
      const mended: string[] = [];
      const { name } = this.#input.tun;
      const [link] = await list(this.#run, 4, ['link', 'show', 'dev', name]);
      if (link === undefined) throw new HostError('no-device', `interface ${name} has gone`);
      const plan = planHost(this.#input);
      if (!(link['flags'] as string[] | undefined)?.includes('UP')) {
        await runBatch(this.#run, undefined, plan.up);
        mended.push(`interface ${name} up`);
      }
      for (const family of this.#families) {
        const missing = await missingLines(this.#run, family, name, plan.families[family]);
        const lines = missing.map((line) => line.replace(/^(route|address) add/, '$1 replace'));
        await runBatch(this.#run, family, lines);
        mended.push(...missing.map((line) => `IPv${family} ${line.replace(' add', '')}`));
      }
      return [...mended, ...(await this.#mendNft())];
    });
  }

  /** Removes everything that `apply` brought, but the device. Returns what it removed. */
  revert(): Promise<string[]> {
    return this.#inTurn(() => {
      this.#input = undefined;
      return removeLeftovers(this.tunName, this.tools);
    });
  }

  async #mendNft(): Promise<string[]> {
    if (this.#nft === undefined || (await nftTableExists(this.tools.nft, this.tunName))) return [];
    await this.#applyNft(this.#nft);
    return [`nftables table ${nftTable(this.tunName)}`];
  }

  async #applyNft(input: NftInput): Promise<void> {
    const text = planNft(input);
    if (text === null) return;
    await loadNft(this.tools.nft, text);
    this.#nft = input;
  }

  /** A device whose packets must be answered by the way that they came (RFC 3704 strict) would refuse those whose answers we carry. */
  #loosen(device: string): void {
    const strict = ['all', device].some((name) => readSetting(`${ROOT}ipv4/conf/${name}/rp_filter`) === '1');
    if (strict) this.tools.sysctls.set({ path: `ipv4/conf/${device}/rp_filter`, value: '2' });
  }

  /** Makes settings of the host that hold until `revert`. */
  tune(settings: readonly Setting[]): Promise<void> {
    return this.#inTurn(() => {
      for (const setting of settings) this.tools.sysctls.set(setting);
      return Promise.resolve();
    });
  }

  async #apply(input: HostInput, nft?: NftInput): Promise<Applied> {
    const plan = planHost(input);
    const warnings: string[] = [];
    if (nft !== undefined) await this.#applyNft(nft);
    await this.#setUpLink(plan, warnings);
    this.#families = [];
    for (const family of FAMILIES) {
      const lines = plan.families[family];
      if (lines.length > 0 && (await this.#applyFamily(family, lines, warnings))) this.#families.push(family);
    }
    this.#input = input;
    return { warnings, families: [...this.#families] };
  }

  /** In one go; only where that fails line by line, to find out which tuning to do without. */
  async #setUpLink({ link, tuning, up }: HostPlan, warnings: string[]): Promise<void> {
    try {
      return await runBatch(this.#run, undefined, [...link, ...tuning, ...up]);
    } catch {
      await runBatch(this.#run, undefined, link);
    }
    for (const line of tuning) await runBatch(this.#run, undefined, [line]).catch(warnInto(warnings));
    await runBatch(this.#run, undefined, up);
  }

  /** False, with a warning, where the host doesn't do IPv6. */
  async #applyFamily(family: Family, lines: readonly string[], warnings: string[]): Promise<boolean> {
    try {
      await runBatch(this.#run, family, lines);
      return true;
    } catch (error) {
      if (family === 4 || !(error instanceof HostError) || error.code !== 'no-family') throw error;
      await removeFamily(this.#run, family, this.tunName);
      warnings.push(
        `IPv6 is switched off on this host, so the overlay's IPv6 addresses aren't reachable from it (${error.message})`,
      );
      return false;
    }
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(task);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

function warnInto(warnings: string[]): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof HostError) || error.code === 'not-permitted') throw error;
    warnings.push(error.message);
  };
}

async function refuseTakenName(run: RunIp, name: string): Promise<void> {
  checkDeviceName(name);
  const { status } = await run(['-j', 'link', 'show', 'dev', name]);
  if (status !== 0) return;
  throw new HostError(
    'name-taken',
    `an interface named ${name} exists already: stop its owner, or choose another tun.name`,
  );
}

/**
 * Removes the rules, routes and nftables that an agent with this device left, and only those: rules and routes are found by table and
 * protocol, which both must be ours. Leaves any device alone, so it may be called at any time, any number of times. Returns a line for each
 * thing removed. Rejects with HostError.
 */
export async function removeLeftovers(
  tunName: string,
  tools: HostTools = hostTools(tunName),
): Promise<string[]> {
  checkDeviceName(tunName);
  // What marks packets goes before what routes them by their mark.
  const tables = await removeNftTables(tools.nft, [nftTable(tunName), senderTable(tunName)]);
  const removed = tables.map((table) => `nftables table ${table}`);
  for (const family of FAMILIES) removed.push(...(await removeFamily(tools.ip, family, tunName)));
  return [...removed, ...tools.sysctls.restore()];
}

/** Rules first: with them gone, the order in which routes go doesn't matter. */
async function removeFamily(run: RunIp, family: Family, tunName: string): Promise<string[]> {
  const tables = TABLE_USES.map((use) => String(routingTable(tunName, use)));
  const all = await listRouting(run, family);
  const ours = all.rules.filter((rule) => isOurs(rule) && tables.includes(String(rule['table'])));
  const withExit = ours.some(({ table }) => table === tables[TABLE_USES.indexOf('exit')]);
  const suppressed = all.rules.filter((rule) => isOurs(rule) && rule['priority'] === SUPPRESS_PRIORITY);
  const rules = [...ours, ...(withExit ? suppressed : [])].map(({ priority, table }) => ({
    priority: String(priority),
    table: String(table),
  }));
  const routes = tables.flatMap((table) => all.routes.filter((route) => String(route['table']) === table));
  const filled = tables.filter((table) => routes.some((route) => String(route['table']) === table));
  await removeLines(run, family, [
    ...rules.map(
      ({ priority, table }) => `rule del pref ${priority} table ${table} protocol ${ROUTE_PROTOCOL}`,
    ),
    ...filled.map((table) => `route flush table ${table} proto ${ROUTE_PROTOCOL}`),
  ]);
  const what = (route: Entry): string =>
    `${isUnreachable(route) ? 'unreachable ' : ''}${String(route['dst'])}`;
  return [
    ...rules.map(({ priority, table }) => `IPv${family} rule ${priority} to table ${table}`),
    ...routes.map((route) => `IPv${family} route ${what(route)} in table ${String(route['table'])}`),
  ];
}

/** Runs lines that remove things; those that are gone already are no failure. */
async function removeLines(run: RunIp, family: Family, lines: readonly string[]): Promise<void> {
  if (lines.length === 0) return;
  const result: IpResult = await run([`-${family}`, '-force', '-batch', '-'], `${lines.join('\n')}\n`);
  const complaints = result.stderr
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('Command failed'));
  if (result.status !== 0 && !complaints.every((line) => NOTHING_THERE.test(line)))
    throw explain(result.stderr, lines);
}
