/** Questions to an agent, by the product's own command line. */
import { join } from 'node:path';
import { run } from './net.mjs';

const bin = join(import.meta.dirname, '..', '..', 'bin', 'causeway');

export const status = async (socket) => JSON.parse(await run(bin, ['status', '--json', '-s', socket]));

export const linksUp = async (socket) => (await status(socket)).peers.connected;
