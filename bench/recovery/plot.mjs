/**
 * Delay distributions as SVG: for each delay the share of messages that came later, both on logarithmic scales, since what matters is the
 * tail. A curve that ends above the axis's foot has lost messages.
 */
const WIDTH = 760;
const HEIGHT = 420;
const PLOT = { left: 76, right: 20, top: 56, bottom: 52 };
const COLOURS = ['#c44e2f', '#8c7a1e', '#1f6fb2', '#4b8f4b', '#7a4fa3'];
const DASHES = ['7 4', '2 3', '', '9 3 2 3', '4 2'];
const DELAY_TICKS = [
  10, 20, 30, 40, 50, 60, 70, 80, 100, 150, 200, 300, 500, 1000, 2000, 5000, 10_000, 20_000,
];

/** @param {{title: string, curves: {name: string, count: number, delays: number[]}[]}} plot  delays ascending, ms; `count` were sent */
export function delayPlot({ title, curves }) {
  const known = curves.filter(({ delays }) => delays.length > 0);
  const most = Math.max(...known.map(({ count }) => count));
  const decades = Math.max(1, Math.ceil(Math.log10(most)));
  const lowest = 0.98 * Math.min(...known.map(({ delays }) => delays[0]));
  const highest = 1.05 * Math.max(100, ...known.map(({ delays }) => delays.at(-1)));
  const inner = { width: WIDTH - PLOT.left - PLOT.right, height: HEIGHT - PLOT.top - PLOT.bottom };
  const x = (ms) => PLOT.left + (inner.width * Math.log(ms / lowest)) / Math.log(highest / lowest);
  const y = (share) => PLOT.top + (inner.height * Math.min(decades, -Math.log10(share))) / decades;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#222">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    `<text x="${PLOT.left}" y="22" font-size="15">${escape(title)}</text>`,
    ...delayAxis(x, lowest, highest),
    ...shareAxis(y, decades),
    ...known.map((curve, i) => curveOf(curve, i, x, y)),
    ...known.map(({ name }, i) => legend(name, i)),
    '</svg>',
    '',
  ].join('\n');
}

const escape = (text) => text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]);
const line = (x1, y1, x2, y2, more) =>
  `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" ${more}/>`;

/** Labels that would touch the one before are left out. */
function delayAxis(x, lowest, highest) {
  const foot = HEIGHT - PLOT.bottom;
  let labelledTo = -Infinity;
  const ticks = DELAY_TICKS.filter((ms) => ms >= lowest && ms <= highest).flatMap((ms) => {
    const at = x(ms);
    const grid = line(at, PLOT.top, at, foot, 'stroke="#e4e4e4"');
    if (at - labelledTo < 30) return [grid];
    labelledTo = at;
    return [grid, `<text x="${at.toFixed(1)}" y="${foot + 18}" text-anchor="middle">${ms}</text>`];
  });
  const middle = (PLOT.left + WIDTH - PLOT.right) / 2;
  return [
    ...ticks,
    line(PLOT.left, foot, WIDTH - PLOT.right, foot, 'stroke="#222"'),
    `<text x="${middle}" y="${HEIGHT - 12}" text-anchor="middle">delay from when the message was due, ms</text>`,
  ];
}

function shareAxis(y, decades) {
  const middle = (PLOT.top + HEIGHT - PLOT.bottom) / 2;
  const ticks = Array.from({ length: decades + 1 }, (_, decade) => {
    const at = y(10 ** -decade);
    return (
      line(PLOT.left, at, WIDTH - PLOT.right, at, 'stroke="#e4e4e4"') +
      `<text x="${PLOT.left - 8}" y="${(at + 4).toFixed(1)}" text-anchor="end">${Number((100 * 10 ** -decade).toPrecision(3))} %</text>`
    );
  });
  return [
    ...ticks,
    line(PLOT.left, PLOT.top, PLOT.left, HEIGHT - PLOT.bottom, 'stroke="#222"'),
    `<text transform="rotate(-90)" x="${-middle}" y="18" text-anchor="middle">share of messages later</text>`,
  ];
}

/** A staircase; steps narrower than a third of a pixel are merged. */
function curveOf({ count, delays }, index, x, y) {
  let path = `M${x(delays[0]).toFixed(1)} ${y(1).toFixed(1)}`;
  let [drawnX, drawnY] = [-1, -1];
  delays.forEach((delay, i) => {
    const later = (count - i - 1) / count;
    const [atX, atY] = [x(delay), later > 0 ? y(later) : HEIGHT - PLOT.bottom];
    const isLast = i === delays.length - 1;
    if (!isLast && Math.abs(atX - drawnX) < 0.3 && Math.abs(atY - drawnY) < 0.3) return;
    path += `H${atX.toFixed(1)}V${atY.toFixed(1)}`;
    [drawnX, drawnY] = [atX, atY];
  });
  return `<path d="${path}" fill="none" stroke-width="1.8" ${stroke(index)}/>`;
}

const stroke = (index) =>
  `stroke="${COLOURS[index % COLOURS.length]}" stroke-dasharray="${DASHES[index % DASHES.length]}"`;

function legend(name, index) {
  const at = PLOT.left + index * 170;
  return (
    line(at, 40, at + 28, 40, `stroke-width="1.8" ${stroke(index)}`) +
    `<text x="${at + 34}" y="44">${escape(name)}</text>`
  );
}
