// A test's hands and eyes in front of VS Code: a browser without a window.
// Arguments: playwright-core's folder, the browser's program.

const { answerLines } = require("./lines.cjs");

async function main() {
  const [playwright, executablePath] = process.argv.slice(2);
  const { chromium } = require(playwright);
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width: 1100, height: 700 } });
  await context.addInitScript({ path: `${__dirname}/page.js` });
  const page = await context.newPage();
  answerLines(process.stdin, process.stdout, { page, context });
  process.stdin.on("end", async () => {
    await browser.close();
    process.exit();
  });
}

main();
