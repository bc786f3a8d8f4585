/** Offering to install the server, and installing it, with what the user sees of it. */

import { homedir } from "node:os";
import {
  commands,
  type ExtensionContext,
  type LogOutputChannel,
  ProgressLocation,
  window,
} from "vscode";
import {
  bundledSource,
  type Folders,
  isOutdated,
  makeEnvironment,
  namedSource,
  ownEnvironment,
  type Source,
} from "./environment.ts";
import { expand } from "./locate.ts";
import { findPython, pythonCandidates } from "./python.ts";
import type { Run } from "./run.ts";
import type { Server } from "./server.ts";
import { SECTION, settings } from "./settings.ts";
import { foldersOf, pythonEnvironments } from "./surroundings.ts";

const DO_NOT_OFFER = "doNotOfferToInstall";

/** Installs the server into an environment that the extension keeps. */
export class Installer {
  readonly #context: ExtensionContext;
  readonly #folders: Folders;
  readonly #log: LogOutputChannel;
  readonly #server: Server;
  readonly #run: Run;
  #offered = false;

  constructor(
    context: ExtensionContext,
    log: LogOutputChannel,
    server: Server,
    run: Run,
  ) {
    this.#context = context;
    this.#folders = foldersOf(context);
    this.#log = log;
    this.#server = server;
    this.#run = run;
  }

  /** Ask once in a session whether to install what is missing. */
  async offer(): Promise<void> {
    if (this.#offered || this.#context.globalState.get(DO_NOT_OFFER) === true) {
      return;
    }
    this.#offered = true;
    const [install, name, never] = ["Install", "I Have It…", "Don't Ask Again"];
    const answer = await window.showInformationMessage(
      "The language server lsp-stablecode was not found. Install it into a Python " +
        "environment of its own? With a starter model that takes some gigabytes " +
        "and some minutes.",
      install,
      name,
      never,
    );
    if (answer === install) {
      await this.install();
    } else if (answer === name) {
      await openSettings("serverCommand");
    } else if (answer === never) {
      await this.#context.globalState.update(DO_NOT_OFFER, true);
    }
  }

  /** Ask whether to install the server that came with this version of the extension. */
  async offerUpdate(): Promise<void> {
    const own = await ownEnvironment(this.#folders);
    const command = this.#server.found?.command[0];
    if (own === undefined || !command?.startsWith(own)) {
      return;
    }
    if (this.#offered || !(await isOutdated(this.#folders))) {
      return;
    }
    this.#offered = true;
    const update = "Update";
    const answer = await window.showInformationMessage(
      "The language server lsp-stablecode is of an earlier version than the extension.",
      update,
    );
    if (answer === update) {
      await this.install();
    }
  }

  /** Install the server, in place of the one that the extension installed before. */
  async install(): Promise<void> {
    const source = await this.#source();
    if (source === undefined) {
      return;
    }
    const python = await findPython(
      this.#run,
      pythonCandidates(
        expand(settings().get("python", ""), homedir(), undefined),
        await pythonEnvironments(),
        process.platform,
      ),
    );
    if (python === undefined) {
      await this.#complain(
        "No Python 3.11 or later was found that can make virtual environments. Install " +
          "one (on Debian and Ubuntu with the package python3-venv), or name it in the " +
          `setting ${SECTION}.python.`,
      );
      return;
    }
    await this.#installWith(python, source);
  }

  async #installWith(python: readonly string[], source: Source): Promise<void> {
    const abort = new AbortController();
    const title = "Installing lsp-stablecode";
    const work = () =>
      window.withProgress(
        { location: ProgressLocation.Notification, title, cancellable: true },
        async (progress, token) => {
          token.onCancellationRequested(() => abort.abort());
          await makeEnvironment(this.#folders, python, source, {
            run: this.#run,
            signal: abort.signal,
            report: (line) => {
              this.#log.info(line);
              progress.report({ message: line.trim().slice(0, 80) });
            },
          });
        },
      );
    try {
      await this.#server.suspendWhile(async () => work());
    } catch (error) {
      if (!abort.signal.aborted) {
        await this.#complain(
          `lsp-stablecode could not be installed. ${(error as Error).message}`,
        );
      }
    }
  }

  /** Return what to install, or say why there is nothing. */
  async #source(): Promise<Source | undefined> {
    const named = expand(settings().get("installFrom", ""), homedir(), undefined);
    const source =
      named === "" ? await bundledSource(this.#folders) : namedSource(named);
    if (source !== undefined) {
      return source;
    }
    const reason =
      named === ""
        ? "This extension was packaged without its server."
        : `${named} is no absolute path of a file or a folder that is there.`;
    const open = "Open Settings";
    const answer = await window.showErrorMessage(
      `${reason} Name a wheel, or a folder with the project's sources, in the ` +
        `setting ${SECTION}.installFrom.`,
      open,
    );
    if (answer === open) {
      await openSettings("installFrom");
    }
    return undefined;
  }

  async #complain(message: string): Promise<void> {
    this.#log.error(message);
    const show = "Show Log";
    if ((await window.showErrorMessage(message, show)) === show) {
      this.#log.show();
    }
  }
}

async function openSettings(key: string): Promise<void> {
  await commands.executeCommand("workbench.action.openSettings", `${SECTION}.${key}`);
}
