/**
 * Measures the built book with Lighthouse and writes bncourse/results/lighthouse.json.
 *
 *     npm ci --prefix scripts/lighthouse
 *     node scripts/lighthouse/run.mjs
 *
 * Three pages, on a desk and on a phone; on the phone also with the theme's own icon files, as the site would be without
 * book/_ext/icons.py. Of the runs of a page the middle performance counts, and the lowest of the other scores.
 */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { launch } from "chrome-launcher";
import lighthouse, { desktopConfig } from "lighthouse";
import { serve } from "./serve.mjs";

const ROOT = join(import.meta.dirname, "..", "..");
const SITE = join(ROOT, "_build", "html");
const PYTHON = join(ROOT, ".venv", "bin", "python");
const PAGES = ["book/intro.html", "book/2_backprop/2_closed_form.html", "book/appendix/ledger.html"];
const CATEGORIES = ["performance", "accessibility", "best-practices", "seo"];
const TIMES = ["first-contentful-paint", "largest-contentful-paint", "speed-index", "total-blocking-time"];
const RUNS = 3;
const SETTINGS = {
  desktop: { config: desktopConfig },
  mobile: { config: undefined }, // Lighthouse's default: a slow phone with a slow connection
  "mobile, all icons": { config: undefined, allIcons: true },
};

if (!existsSync(join(SITE, PAGES[0]))) throw new Error(`no book at ${SITE}: build it with 'make book'`);
const start = performance.now();
// A container's root may not use Chromium's sandbox. What it opens is the book alone.
const chrome = await launch({
  chromePath: process.env.CHROME_PATH ?? "/usr/bin/chromium",
  chromeFlags: ["--headless=new", "--no-sandbox"],
});
const outcome = {};
let browser = "";
try {
  for (const [name, { config, allIcons }] of Object.entries(SETTINGS)) {
    const server = await serve(SITE, allIcons ? themeFiles() : {});
    outcome[name] = {};
    for (const page of PAGES) {
      const runs = [];
      for (let run = 0; run < RUNS; run += 1) runs.push(await measure(`${server.address}/${page}`, config));
      outcome[name][page] = summarize(runs);
      console.log(name, page, JSON.stringify(outcome[name][page]));
    }
    server.close();
  }
} finally {
  chrome.kill();
}
const lowest = Object.values(outcome.desktop).map((page) => Math.min(...CATEGORIES.map((category) => page[category])));
record();
if (Math.min(...lowest) < 95) process.exitCode = 1;

async function measure(address, config) {
  const { lhr } = await lighthouse(address, { port: chrome.port, logLevel: "error", onlyCategories: CATEGORIES }, config);
  if (lhr.runtimeError) throw new Error(`${address}: ${lhr.runtimeError.message}`);
  browser = lhr.environment.hostUserAgent.match(/Chrome\/([\d.]+)/)[1];
  return lhr;
}

/** Return a page's scores, 0 to 100, its times in milliseconds, what it transferred, and what it failed. */
function summarize(runs) {
  const scores = (category) => runs.map((run) => Math.round(100 * run.categories[category].score));
  const value = (audit) => median(runs.map((run) => Math.round(run.audits[audit].numericValue)));
  return {
    ...Object.fromEntries(CATEGORIES.map((category) => [category, Math.min(...scores(category))])),
    performance: median(scores("performance")),
    "performance of each run": scores("performance"),
    milliseconds: Object.fromEntries(TIMES.map((audit) => [audit.replaceAll("-", " "), value(audit)])),
    "bytes transferred": value("total-byte-weight"),
    failed: CATEGORIES.slice(1).flatMap((category) => failures(runs[0], category)),
  };
}

function failures(run, category) {
  const counted = run.categories[category].auditRefs.filter(({ weight }) => weight > 0);
  return counted.map(({ id }) => id).filter((id) => run.audits[id].score !== null && run.audits[id].score < 1);
}

function median(values) {
  return values.toSorted((first, second) => first - second)[Math.floor(values.length / 2)];
}

/** Return the files of the installed theme that book/_ext/icons.py shortens. */
function themeFiles() {
  const code = "import sys; sys.path.insert(0, 'book/_ext'); import icons, json; " +
    "print(json.dumps({f'/_static/{name}': icons.theme_file(name) for name in (icons.SCRIPT, icons.STYLES)}))";
  return JSON.parse(execFileSync(PYTHON, ["-c", code], { cwd: ROOT, maxBuffer: 2 ** 26, encoding: "utf8" }));
}

function record() {
  const { version } = JSON.parse(readFileSync(new URL(import.meta.resolve("lighthouse/package.json"))));
  const written = {
    settings: { pages: PAGES, runs: RUNS, categories: CATEGORIES },
    versions: { lighthouse: version, chromium: browser, node: process.versions.node },
    seconds: (performance.now() - start) / 1000,
    outcome,
  };
  const options = { cwd: ROOT, input: JSON.stringify(written), stdio: ["pipe", "inherit", "inherit"] };
  execFileSync(PYTHON, [join(import.meta.dirname, "record.py")], options);
}
