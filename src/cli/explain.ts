/** `causeway explain`: its command line. What it does is in explanation.ts, loaded when it is asked for: it needs the configuration's whole weight. */
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { Output } from './context.js';
import { withJson } from './context.js';
import type { ExplainOptions } from './explanation.js';

export function registerExplain(program: Command, output: Output): void {
  const command = program
    .command('explain')
    .description(
      'say what the agent would do with the flows of a capture, or with one, and why; starts nothing',
    )
    .argument('<what>', 'a capture (pcap, pcapng), or a protocol, such as tcp')
    .argument('[destination]', 'with a protocol: HOST:PORT, or HOST')
    .requiredOption('-c, --config <file>', 'configuration to explain by')
    .option(
      '--certs <path...>',
      "certificates of the other nodes, files or folders (default: this node's own folder), beside those that its agent wrote down",
    )
    .option('--user <user>', 'who sends, by name or number')
    .option('--group <group>', "the sending program's group")
    .option('--cgroup <path>', "the sending program's cgroup, as rules name it")
    .option('--from <address>', "source address of the one flow (default: this node's own)")
    .option('--dscp <number>', 'DSCP of the one flow', dscp, 0);
  withJson(command).action(async (what: string, destination: string | undefined, options: ExplainOptions) => {
    const { runExplain } = await import('./explanation.js');
    await runExplain(what, destination, options, output);
  });
}

function dscp(text: string): number {
  if (/^\d{1,2}$/.test(text) && Number(text) < 64) return Number(text);
  throw new InvalidArgumentError('Give a DSCP, 0 to 63.');
}
