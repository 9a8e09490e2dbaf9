/** The paper's chain: hosts a to f, five links of 10 ms and 10 Mbit/s, loss on the middle one; with agents, or forwarded by the kernel. */
import { withMesh } from '../lib/mesh.mjs';

const NODES = ['a', 'b', 'c', 'd', 'e', 'f'];

export const MESSAGE_BYTES = 1000;

/** µs between messages of 1000 bytes at a rate. */
export const intervalUs = (kbps) => (MESSAGE_BYTES * 8e3) / kbps;

/** Runs `use` with the chain's mesh. `agent`: `false` for the kernel, else keys of the agents' configurations. */
export const withChain = (agent, use) =>
  withMesh(
    {
      agent,
      nodes: Object.fromEntries(NODES.map((node) => [node, {}])),
      links: NODES.slice(1).map((node, i) => ({
        between: [NODES[i], node],
        delay: '10ms',
        rate: '10mbit',
      })),
    },
    use,
  );

/** @param {{percent: number, burst?: number}} loss  of frames between c and d, each way; `burst`: mean length of a run of losses */
export const setLoss = (mesh, { percent, burst = 0 }) =>
  mesh.link('c', 'd', '--loss', `${percent}%`, '--burst', String(burst));

/** What the lossy link did from c to d while `work` ran: {received, lost} frames, where the mesh counts them, and what `work` returned. */
export async function withLossCounted(mesh, work) {
  const count = async () => JSON.parse(await mesh.link('c', 'd', '--json')).directions[0].counters;
  const before = await count();
  const result = await work();
  const after = await count();
  const grown = (key) => (before === null || after === null ? NaN : after[key] - before[key]);
  return { received: grown('received'), lost: grown('lost'), result };
}

export const lossText = ({ percent, burst }) => `${percent} %${burst ? ` in bursts of ${burst}` : ''}`;
