/**
 * Applies a plan to the host and takes it back.
 *
 * 1. `prepare`, before the device exists: nobody has its name, and what a killed agent left under it goes.
 * 2. `apply`, with the device just created: link, addresses, routes, and the rule last.
 * 3. `setRouted`, as other nodes' subnets come and go.
 * 4. `revert`, before the device is closed.
 */
import { HostError, explain, ipRunner, runBatch, type IpOptions, type IpResult, type RunIp } from './ip.js';
import {
  ROUTE_PROTOCOL,
  checkDeviceName,
  planHost,
  planRouteChange,
  routingTable,
  type HostInput,
  type HostPlan,
} from './plan.js';

const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];

export interface Applied {
  /** What the host can't do and the agent can do without, a line each. */
  warnings: string[];
  /** Address families in use. */
  families: Family[];
}

/** The host's side of interception for one device. Calls run one after another, in the order in which they were made. */
export class HostInterception {
  readonly #run: RunIp;
  #input: HostInput | undefined;
  #families: Family[] = [];
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly tunName: string,
    options: IpOptions = {},
    run: RunIp = ipRunner(options),
  ) {
    this.#run = run;
  }

  /** Rejects with HostError 'name-taken' if an interface has the name, whoever made it. Else returns what it removed. */
  prepare(): Promise<string[]> {
    return this.#inTurn(async () => {
      await refuseTakenName(this.#run, this.tunName);
      return removeLeftovers(this.tunName, {}, this.#run);
    });
  }

  /** Applies the plan; where that fails nothing of it stays, and it rejects with HostError. */
  apply(input: HostInput): Promise<Applied> {
    return this.#inTurn(async () => {
      if (input.tun.name !== this.tunName)
        throw new HostError('bad-input', `${input.tun.name} isn't ${this.tunName}`);
      try {
        return await this.#apply(input);
      } catch (error) {
        await removeLeftovers(this.tunName, {}, this.#run).catch(() => undefined);
        throw error;
      }
    });
  }

  /** Changes the subnets routed beyond the overlay's prefixes. Rejects with HostError; may then be called again. */
  setRouted(routed: readonly string[]): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#input === undefined) throw new Error('setRouted comes after apply');
      const { add, remove } = planRouteChange(this.#input, routed);
      // Where a replace fails the old list stays in force: the next call repeats what was done, to the same end.
      for (const family of this.#families) {
        await runBatch(this.#run, family, add[family]);
        await removeLines(this.#run, family, remove[family]);
      }
      this.#input = { ...this.#input, routed };
    });
  }

  /** Removes everything that `apply` brought, but the device. Returns what it removed. */
  revert(): Promise<string[]> {
    return this.#inTurn(() => {
      this.#input = undefined;
      return removeLeftovers(this.tunName, {}, this.#run);
    });
  }

  async #apply(input: HostInput): Promise<Applied> {
    const plan = planHost(input);
    const warnings: string[] = [];
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
      await removeFamily(this.#run, family, routingTable(this.tunName));
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
 * Removes the rules and routes that an agent with this device left, and only those: found by table and protocol, which both must
 * be ours. Leaves any device alone, so it may be called at any time, any number of times. Returns a line for each thing removed.
 * Rejects with HostError.
 */
export async function removeLeftovers(
  tunName: string,
  options: IpOptions = {},
  run: RunIp = ipRunner(options),
): Promise<string[]> {
  checkDeviceName(tunName);
  const removed: string[] = [];
  for (const family of FAMILIES) removed.push(...(await removeFamily(run, family, routingTable(tunName))));
  return removed;
}

/** Rules first: with them gone, the order in which routes go doesn't matter. */
async function removeFamily(run: RunIp, family: Family, table: number): Promise<string[]> {
  const rules = await list(run, family, ['rule', 'show']);
  const priorities = rules
    .filter((rule) => rule['table'] === String(table) && isOurs(rule))
    .map((rule) => String(rule['priority']));
  const rulesOf = priorities.map(
    (priority) => `rule del pref ${priority} table ${table} protocol ${ROUTE_PROTOCOL}`,
  );
  await removeLines(run, family, rulesOf);
  const routes = (await list(run, family, ['route', 'show', 'table', String(table)])).filter(isOurs);
  if (routes.length > 0) await runBatch(run, family, [`route flush table ${table} proto ${ROUTE_PROTOCOL}`]);
  return [
    ...priorities.map((priority) => `IPv${family} rule ${priority} to table ${table}`),
    ...routes.map(
      (route) =>
        `IPv${family} route ${isUnreachable(route) ? 'unreachable ' : ''}${String(route['dst'])} in table ${table}`,
    ),
  ];
}

type Entry = Record<string, unknown>;

function isOurs(entry: Entry): boolean {
  return entry['protocol'] === String(ROUTE_PROTOCOL);
}

/** `ip -N` gives route types as numbers too (RTN_UNREACHABLE). */
function isUnreachable(route: Entry): boolean {
  return route['type'] === '7' || route['type'] === 'unreachable';
}

const NOTHING_THERE = /does not exist|not supported|No such file|No such process/;

/** Entries that `ip -j` lists, protocols as numbers; none where the table or the family isn't there. */
async function list(run: RunIp, family: Family, what: readonly string[]): Promise<Entry[]> {
  const { status, stdout, stderr } = await run([`-${family}`, '-N', '-j', ...what]);
  if (status === 0) return JSON.parse(stdout || '[]') as Entry[];
  if (NOTHING_THERE.test(stderr)) return [];
  throw explain(stderr, [what.join(' ')]);
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
