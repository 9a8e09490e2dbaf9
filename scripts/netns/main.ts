/** `mesh`: reads the command line. Exit codes: 0 done, 1 failed, 2 wrong usage or mesh file; `exec` ends with its command's. */
import { constants } from 'node:os';
import { Command, CommanderError, Option } from 'commander';
import { MeshError, wrongUse } from './errors.js';
import { changeAgent, execIn, Interrupted, meshDown, meshUp, requireRoot } from './mesh.js';
import { lossConflict, parseBurst, parseDuration, parseLoss, parseRate } from './quantity.js';
import { changeLink, type Change } from './shaping.js';
import { chosenMesh, linkBetween, meshNames, nodeOf, withLock, type MeshState } from './state.js';
import { linkDetails, linkText, listText, statusOf, statusText } from './status.js';

const print = (text: string): void => console.log(text);

interface LinkOptions {
  delay?: string;
  loss?: string;
  burst?: string;
  rate?: string;
  queue?: string;
  oneway?: boolean;
  down?: boolean;
  up?: boolean;
  blackhole?: boolean;
  json?: boolean;
}

function commandLine(): Command {
  const program = new Command('mesh')
    .description('Test meshes in network namespaces (docs/mesh.md)')
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'mesh: ')) })
    .option('-m, --mesh <name>', 'which mesh, where more than one is up');
  const command = (usage: string, description: string): Command =>
    program
      .command(usage)
      .description(description)
      .option('-m, --mesh <name>', 'which mesh, where more than one is up');
  const chosen = (own: { mesh?: string }): MeshState =>
    chosenMesh(own.mesh ?? program.opts<{ mesh?: string }>().mesh);

  command('up <file>', 'bring up the mesh that a file describes')
    .option('--seed <number>', 'seed of the links’ random losses')
    .action(async (file: string, options: { seed?: string }) => {
      const state = await meshUp(file, options.seed === undefined ? {} : { seed: seedOf(options.seed) });
      print(`mesh ${state.name} is up: ${state.nodes.length} nodes, ${state.links.length} links`);
    });
  command('down [name]', 'take a mesh down, and leave nothing of it').action(
    async (name: string | undefined, options: { mesh?: string }) => {
      const ended = await meshDown(name ?? options.mesh ?? program.opts<{ mesh?: string }>().mesh);
      print(ended === undefined ? 'no mesh is up' : `mesh ${ended} is down`);
    },
  );
  command('list', 'name the meshes that are up')
    .option('--json', 'as JSON')
    .action((options: { json?: boolean }) => {
      if (options.json) print(JSON.stringify(meshNames()));
      else for (const line of listText(meshNames())) print(line);
    });
  command('exec <node> [command...]', 'run a command on a node: mesh exec a -- ping 10.77.0.2')
    .passThroughOptions()
    .action(async (node: string, words: string[], options: { mesh?: string }) => {
      const argv = words[0] === '--' ? words.slice(1) : words;
      if (argv.length === 0) throw wrongUse('exec needs a command: mesh exec NODE -- CMD…');
      process.exitCode = await execIn(nodeOf(chosen(options), node), argv);
    });
  command('link <a> <b>', 'show a link, or change it while it runs; what isn’t named stays')
    .option('--delay <time>', 'one-way delay, as in 10ms')
    .option('--loss <percent>', 'as in 1%')
    .option('--burst <frames>', 'mean length of a run of losses')
    .option('--rate <rate>', 'as in 10mbit; unlimited for none')
    .option('--queue <time>', 'how long a frame may wait for the rate, as in 50ms')
    .option('--oneway', 'from A to B only')
    .addOption(
      new Option('--down', 'interfaces down: a death that is announced').conflicts(['up', 'blackhole']),
    )
    .addOption(new Option('--up', 'end down and blackhole').conflicts('blackhole'))
    .option('--blackhole', 'lose everything without a sign')
    .option('--json', 'as JSON')
    .action((a: string, b: string, options: LinkOptions & { mesh?: string }) =>
      linkCommand(chosen(options), a, b, options),
    );
  command('agent <node> <action>', 'stop, start or kill a node’s agent').action(
    async (node: string, action: string, options: { mesh?: string }) => {
      if (!['stop', 'start', 'kill'].includes(action))
        throw wrongUse(`"${action}" is no action: use stop, start or kill`);
      await changeAgent(chosen(options), node, action);
    },
  );
  command('status', 'nodes, addresses, links and their counters')
    .option('--json', 'as JSON')
    .action(async (options: { mesh?: string; json?: boolean }) => {
      const state = chosen(options);
      print(options.json ? JSON.stringify(statusOf(state), null, 2) : await statusText(state));
    });
  return program;
}

async function linkCommand(state: MeshState, a: string, b: string, options: LinkOptions): Promise<void> {
  const { link } = linkBetween(state, a, b);
  const change = changeOf(options);
  if (Object.keys(change).length === 0) {
    if (options.oneway) throw wrongUse('--oneway needs a change to make, as in --loss 100%');
    const details = await linkDetails(state, [link]);
    return print(options.json ? JSON.stringify(details[0], null, 2) : linkText(details[0]!));
  }
  requireRoot();
  await withLock(state.name, async (current) => {
    const { link: now, forward } = linkBetween(current, a, b);
    const changes: [Change, Change] = options.oneway ? [{}, {}] : [change, change];
    changes[forward] = change;
    for (const side of [0, 1] as const) {
      const conflict = lossConflict({ ...now.directions[side], ...changes[side] });
      if (conflict !== undefined) throw wrongUse(conflict);
    }
    await changeLink(current, now, changes);
  });
}

function changeOf(options: LinkOptions): Change {
  const read = <T>(text: string, parse: (text: string) => T | string): T => {
    const parsed = parse(text);
    if (typeof parsed === 'string') throw wrongUse(parsed);
    return parsed;
  };
  const { delay, loss, burst, rate, queue } = options;
  return {
    ...(delay !== undefined && { delayMs: read(delay, parseDuration) }),
    ...(loss !== undefined && { loss: read(loss, parseLoss) }),
    ...(burst !== undefined && { burst: burst === '0' ? null : read(burst, parseBurst) }),
    ...(rate !== undefined && { rateBps: read<number | null>(rate, parseRate) }),
    ...(queue !== undefined && { queueMs: read(queue, parseDuration) }),
    ...(options.down && { down: true }),
    ...(options.blackhole && { blackhole: true }),
    ...(options.up && { down: false, blackhole: false }),
  };
}

function seedOf(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw wrongUse(`"${text}" is no seed: write a whole number`);
  return Number(text);
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof MeshError || error instanceof Interrupted) {
    process.stderr.write(`mesh: ${error.message}\n`);
    return error instanceof MeshError ? error.exitCode : 128 + constants.signals[error.signal];
  }
  process.stderr.write(`mesh: ${(error as Error).stack ?? String(error)}\n`);
  return 1;
}

try {
  await commandLine().parseAsync();
} catch (error) {
  process.exitCode = report(error);
}
