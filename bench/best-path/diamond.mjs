/** The diamond that `bench/best-path.mjs` measures on, and what its corner a says of its paths. */
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { withMesh } from '../lib/mesh.mjs';

/** `more`: keys of each link as in a mesh file. */
export const withDiamond = (more, use) =>
  withMesh(
    {
      nodes: { a: {}, b: {}, m1: {}, m2: {} },
      links: [
        { between: ['a', 'm1'], delay: '8ms', ...more },
        { between: ['m1', 'b'], delay: '8ms', ...more },
        { between: ['a', 'm2'], delay: '10ms', ...more },
        { between: ['m2', 'b'], delay: '10ms', ...more },
      ],
    },
    (mesh) => use({ mesh, ways: () => waysTo(mesh.hosts.a, 'b') }),
  );

/** Next hop to a node, by service. Asks the socket itself: a command's start takes longer than what is timed. */
async function waysTo({ socket }, node) {
  const routes = JSON.parse(await get(socket, '/v1/routes'));
  const { ways } = routes.find(({ owner }) => owner === node);
  return Object.fromEntries(ways.map(({ service, via }) => [service, via]));
}

const get = (socketPath, path) =>
  new Promise((resolve, reject) => {
    request({ socketPath, path }, (response) => text(response).then(resolve, reject))
      .on('error', reject)
      .end();
  });
