// What each row is to reach, in one table. Shares are of the limit measured in the same run, ratios against the best
// peer of the same run; times are absolute and were set on 2 Ice Lake cores at 2.8 GHz.
//
// { row, name?: RegExp on the row's name, variant?: of ours, threads?: 1 unless given, and one of
//   share: ≥ of the limit, peers: ≥ × the best peer, atMost: in the row's unit, atLeast: in the row's unit,
//   speedup: ≥ × our own figure on one thread, more: < more than another variant of ours, in the row's unit }

const constant = "captured, constant weight";

export const targets = [
  { row: "G1", share: 0.9 },
  { row: "G2", share: 0.9 },
  { row: "G3", name: /^32³/, variant: "captured", share: 0.5 },
  { row: "G3", name: /^64³/, variant: "captured", share: 0.8 },
  { row: "G3", name: /^128³/, variant: "captured", share: 0.9 },
  { row: "G4", variant: "captured", share: 0.85 },
  { row: "G4", variant: constant, share: 0.9 },
  { row: "G5", peers: 1 },
  ...["G1", "G2", "G3", "G4"].flatMap((row) => [
    { row, threads: 2, speedup: 1.85, label: "G6" },
    { row, threads: 2, peers: 1, label: "G6" },
  ]),
  { row: "E1", atMost: 0.45 },
  { row: "E2", atMost: 0.55 },
  { row: "E2", variant: "eager", atMost: 0.55 },
  { row: "E3", name: /1 M/, atMost: 0.55 },
  { row: "E3", name: /16 M/, atMost: 1.0 },
  { row: "T1", variant: "captured", atMost: 0.85 },
  { row: "T2", variant: "captured", atMost: 2.4 },
  { row: "T3", variant: "captured", atMost: 19.5 },
  { row: "T1", variant: "captured", threads: 2, atMost: 0.48 },
  { row: "T2", variant: "captured", threads: 2, atMost: 1.25 },
  { row: "T3", variant: "captured", threads: 2, atMost: 10.3 },
  { row: "T4", variant: "captured", atMost: 0.02 },
  { row: "T4", variant: "eager", atMost: 0.15 },
  { row: "T5", variant: "captured", atMost: 0.004 },
  { row: "T6", variant: "captured", atMost: 2.0 },
  { row: "D1", name: /elements$/, variant: "eager", atMost: 0.6 },
  { row: "D1", name: /gradient/, variant: "eager", atMost: 1.0 },
  { row: "I1", name: /batch 1$/, variant: "captured", atMost: 75 },
  { row: "I1", name: /batch 64/, variant: "captured", atMost: 430 },
  { row: "I1", name: /batch 1$/, variant: "captured", threads: 2, atMost: 25 },
  { row: "I1", name: /batch 64/, variant: "captured", threads: 2, atMost: 250 },
  { row: "I1", variant: "captured, awaited", more: 30, than: "captured" },
  { row: "J1", name: /³/, atLeast: 2 },
  { row: "J1", name: /batch/, atMost: 250 },
  { row: "S1", name: /first/, atMost: 60 },
  { row: "S1", name: /memory/, atMost: 15 },
  { row: "S1", name: /size/, atMost: 10 },
];

/**
 * Judges a measured row.
 * @param row { id, name, unit, threads, limit?: { value }, contestants: [{ peer, variant, ours, best }] }
 * @param oneThread the same row on one thread, where it was measured
 * @returns [{ text, reached: string, met: boolean | undefined }], undefined where something to compare with is missing
 */
export function judge(row, oneThread) {
  const higher = row.unit === "GFLOP/s";
  const better = (list) => list.reduce((a, b) => ((higher ? b.best > a.best : b.best < a.best) ? b : a));
  const measured = (r) => r.contestants.filter((c) => c.best !== undefined);
  const ours = (r, variant) => {
    const list = measured(r).filter((c) => c.ours && (variant === undefined || c.variant === variant));
    return list.length ? better(list) : undefined;
  };
  return targets
    .filter((t) => t.row === row.id && (t.name?.test(row.name) ?? true) && (t.threads ?? 1) === row.threads)
    .map((t) => {
      const mine = ours(row, t.variant);
      const label = `${t.label ? `${t.label}: ` : ""}${t.variant ? `${t.variant} ` : ""}`;
      const verdict = (wanted, value, met) => ({ text: label + wanted, reached: value, met });
      const none = (wanted) => verdict(wanted, "–", undefined);
      if (t.share !== undefined) {
        const wanted = `≥ ${t.share.toFixed(2)} of the limit`;
        if (!mine || !row.limit) return none(wanted);
        const share = higher ? mine.best / row.limit.value : row.limit.value / mine.best;
        return verdict(wanted, share.toFixed(2), share >= t.share);
      }
      if (t.peers !== undefined) {
        const wanted = "≥ the best peer";
        const others = measured(row).filter((c) => !c.ours);
        if (!mine || others.length === 0) return none(wanted);
        const best = better(others);
        const ratio = higher ? mine.best / best.best : best.best / mine.best;
        return verdict(wanted, `${ratio.toFixed(2)}×`, ratio >= t.peers);
      }
      if (t.speedup !== undefined) {
        const wanted = `≥ ${t.speedup}× one thread`;
        const alone = oneThread && mine && ours(oneThread, mine.variant);
        if (!alone) return none(wanted);
        const ratio = higher ? mine.best / alone.best : alone.best / mine.best;
        return verdict(wanted, `${ratio.toFixed(2)}×`, ratio >= t.speedup);
      }
      if (t.more !== undefined) {
        const wanted = `< ${t.more} ${row.unit} more than ${t.than}`;
        const base = ours(row, t.than)?.best;
        if (!mine || base === undefined) return none(wanted);
        return verdict(wanted, `${(mine.best - base).toFixed(1)} ${row.unit}`, mine.best - base < t.more);
      }
      const [wanted, limit] =
        t.atMost !== undefined ? [`≤ ${t.atMost} ${row.unit}`, t.atMost] : [`≥ ${t.atLeast} ${row.unit}`, t.atLeast];
      if (!mine) return none(wanted);
      const met = t.atMost !== undefined ? mine.best <= limit : mine.best >= limit;
      return verdict(wanted, `${Number(mine.best.toPrecision(3))} ${row.unit}`, met);
    });
}
