import tseslint from 'typescript-eslint';

/** Cores take the time and some bytes and return actions: no clock, no I/O, no addon, no chance of their own. */
const impureGlobals = [
  'Date',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'process',
  'fetch',
];
const impureModules = [
  'fs',
  'fs/promises',
  'net',
  'dgram',
  'child_process',
  'os',
  'timers',
  'timers/promises',
  'worker_threads',
  'http',
  'perf_hooks',
].flatMap((name) => [`node:${name}`, name]);

export default tseslint.config(
  { ignores: ['dist', 'build', 'build-asan', 'node_modules', 'coverage'] },
  ...tseslint.configs.strict,
  {
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/switch-exhaustiveness-check': 'off',
      'no-console': 'error',
      eqeqeq: 'error',
      'max-lines': ['warn', { max: 600, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['warn', { max: 60, skipBlankLines: true, skipComments: true, IIFEs: false }],
    },
  },
  {
    files: ['src/{overlay,crypto,intercept,rate-limit}/**/*.ts'],
    rules: {
      'no-restricted-globals': ['error', ...impureGlobals],
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'randomness is an argument of a core' },
      ],
      'no-restricted-imports': [
        'error',
        {
          paths: impureModules.map((name) => ({
            name,
            message: 'a core does no I/O; the shell in src/agent does',
          })),
          patterns: [
            {
              group: ['**/native/*', '**/agent/*', '**/cli/*', '**/control/*'],
              message: 'cores import no shell',
            },
          ],
        },
      ],
    },
  },
  {
    files: ['test/**/*.ts', 'bench/**', 'scripts/**', 'src/cli/**/*.ts', '**/*.mjs', '**/*.config.*'],
    rules: { 'no-console': 'off', 'max-lines-per-function': 'off' },
  },
);
