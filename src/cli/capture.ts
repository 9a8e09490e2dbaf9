/** `causeway capture -w FILE`: what the agent sees, as a file for Wireshark. */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { BlockCounter } from '../capture/block-counter.js';
import type { CaptureRequest } from '../control/api.js';
import { clientOf, interruptible, json, withJson, withSocket } from './context.js';
import type { CommonOptions, Output } from './context.js';
import { CliError } from './errors.js';

interface CaptureOptions extends CommonOptions {
  write: string;
  decrypted?: boolean;
  node?: string;
  flow?: CaptureRequest['flow'];
  count?: number;
  seconds?: number;
  snap: number;
}

const STANDARD_OUTPUT = 1;

export function registerCapture(program: Command, output: Output): void {
  const command = program
    .command('capture')
    .description('write what passes to a file for Wireshark (pcapng), why packets were dropped as comments')
    .requiredOption('-w, --write <file>', 'file to write, mode 0600; "-" for standard output')
    .option('--decrypted', 'the packets inside instead of the sealed datagrams: entering, leaving, relayed')
    .option('--node <node>', "only a neighbour's datagrams; with --decrypted packets from or to this node")
    .option('--flow <flow>', 'only this flow, both directions, such as "tcp * 10.77.0.3:5432"', flow)
    .option('-n, --count <number>', 'end after so many packets', positive)
    .option('-d, --seconds <seconds>', 'end after this time', positive)
    .option('--snap <bytes>', 'keep so much of each packet', positive, 65_535);
  withSocket(withJson(command)).action((options: CaptureOptions) => runCapture(options, output));
}

async function runCapture(options: CaptureOptions, output: Output): Promise<void> {
  const { write: file, decrypted = false, node, flow: ends, count, seconds, snap } = options;
  const request = { decrypted, snap, ...(node !== undefined && { node }), ...(ends && { flow: ends }) };
  const blocks = new BlockCounter(count ?? Infinity);
  await interruptible(async (interrupted) => {
    const limits = seconds === undefined ? [] : [AbortSignal.timeout(seconds * 1000)];
    const chunks = clientOf(options).capture(request, AbortSignal.any([interrupted, ...limits]));
    let target: number | undefined;
    try {
      for await (const chunk of chunks) {
        // Only now is there something to write: an agent that refuses leaves no empty file.
        target ??= openTarget(file);
        writeAll(target, blocks.take(chunk));
        if (blocks.isFull) break;
      }
    } finally {
      if (target !== undefined && target !== STANDARD_OUTPUT) closeSync(target);
    }
  });
  const { packets, missed } = blocks;
  const text =
    options.json === true
      ? json({ file, packets, missed })
      : `${packets} packets captured${missed > 0 ? `, ${missed} more came too fast` : ''}`;
  if (file === '-') output.err(text);
  else output.out(text);
}

function openTarget(file: string): number {
  if (file === '-') return STANDARD_OUTPUT;
  try {
    return openSync(file, 'w', 0o600);
  } catch (cause) {
    throw new CliError(`${file} can't be written (${(cause as NodeJS.ErrnoException).code})`);
  }
}

function writeAll(target: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += writeSync(target, bytes, at);
}

function flow(text: string): CaptureRequest['flow'] {
  const words = text.trim().split(/\s+/);
  if (words.length !== 3) {
    throw new InvalidArgumentError('Give protocol, source and destination, such as "tcp * 10.77.0.3:5432".');
  }
  const [protocol, source, destination] = words;
  return { protocol, source, destination };
}

function positive(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Give a whole number above 0.');
}
