import type { Io } from '../io/ports.js';

/** Tells systemd's watchdog (sd_watchdog_enabled(3)) that both threads live, twice per period, as long as `alive` resolves. */
export class Watchdog {
  private readonly timer: NodeJS.Timeout | undefined;

  constructor(io: Io, alive: () => Promise<unknown>) {
    const micros = Number(process.env['WATCHDOG_USEC'] ?? 0);
    if (!(micros > 0)) return;
    this.timer = setInterval(() => {
      alive().then(
        () => io.notify('WATCHDOG=1'),
        // Silence is the message: systemd restarts a unit whose watchdog goes unfed.
        () => undefined,
      );
    }, micros / 2000);
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
