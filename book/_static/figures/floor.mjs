/** How long a kernel must take: the package's counts (bncourse.kernels.floor) against the rates of a device. */

/**
 * Return what a kernel moves and computes, and how long that takes at least, in microseconds.
 *
 * `tables` is what book/_ext/floor_tables.py writes; the other names are the choices of the figure. A pass is counted as
 * one launch, of `launchTime` microseconds. Of the three times the longest is the bound: at best they overlap.
 */
export function predict(tables, { device, operation, design, dtype, shape, launchTime }) {
  const { bandwidth, flops: rate } = tables.devices[device];
  const { flopsPerValue, bytesPerChannel, designs } = tables.operations[operation];
  const { bytesPerValue, passes } = designs[design];
  const values = shape.reduce((product, size) => product * size, 1);
  const bytes = Math.ceil(values * bytesPerValue[dtype] + shape[1] * bytesPerChannel);
  const flops = values * flopsPerValue;
  const times = {
    memory: (1e6 * bytes) / bandwidth,
    arithmetic: (1e6 * flops) / rate,
    launches: passes.length * launchTime,
  };
  const limit = Object.keys(times).reduce((longest, name) => (times[name] > times[longest] ? name : longest));
  return {
    values,
    bytes,
    flops,
    bytesPerValue: bytesPerValue[dtype],
    bytesPerChannel,
    passes,
    times,
    limit,
    time: times[limit],
    intensity: flops / bytes,
    ridge: rate / bandwidth,
    rate: flops / (1e-6 * times[limit]),
  };
}

/** Return the FLOPs in a second that a device allows at an intensity. */
export function roof({ bandwidth, flops }, intensity) {
  return Math.min(flops, intensity * bandwidth);
}

/** Return the two choices that an operation's name stands for: what is done, and what follows in the same kernel. */
export function split(operation) {
  const [direction, ...follows] = operation.split("+");
  return [direction, follows.join("+")];
}

export const join = (direction, follows) => (follows ? `${direction}+${follows}` : direction);

/** Return the passes of a design in words. */
export function describe(passes) {
  return passes
    .map(({ reads, writes }, place) => {
      const written = writes.length ? `; writes ${writes.join(", ")}` : "";
      return `Pass ${place + 1} reads ${reads.join(", ")}${written}.`;
    })
    .join(" ");
}
