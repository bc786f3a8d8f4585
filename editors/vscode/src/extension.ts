/** What VS Code calls, and how the parts are put together. */

import { commands, type ExtensionContext, window, workspace } from "vscode";
import { registerCommands } from "./commands.ts";
import { isSelected } from "./documents.ts";
import { Installer } from "./install.ts";
import { ModelWatch } from "./model-watch.ts";
import { Reports } from "./reports.ts";
import { Runner } from "./run.ts";
import { Server } from "./server.ts";
import { concernsTheProcess, SECTION } from "./settings.ts";
import { StatusItem } from "./status-item.ts";
import { Suggestions } from "./suggestions.ts";
import { onDidChooseEnvironment } from "./surroundings.ts";
import { Switches } from "./switches.ts";
import type { ServerState, View } from "./view.ts";

let stop: (() => Promise<void>) | undefined;

export function activate(context: ExtensionContext): void {
  const log = window.createOutputChannel("lsp-stablecode", { log: true });
  const switches = new Switches();
  const suggestions = new Suggestions((document) => switches.silence(document));
  const { provideInlineCompletionItems } = suggestions;
  const running = new Server(context, log, { provideInlineCompletionItems });
  const runner = new Runner(context.globalStorageUri.fsPath);
  stop = () => {
    runner.dispose();
    return running.dispose();
  };
  const model = new ModelWatch(running);
  const reports = new Reports();
  const item = new StatusItem();
  const installer = new Installer(context, log, running, runner.run);
  let isFollowingPython = false;

  const view = (): View => ({
    server: running.state,
    model: model.status,
    loading: model.loading,
    notice: model.notice,
    silence: switches.silence(window.activeTextEditor?.document),
    thinking: suggestions.thinking,
  });

  function show(): void {
    item.show(view());
    setContext("running", running.state.name === "running");
    setContext("installed", running.found !== undefined);
    setContext("snoozed", switches.isSnoozed);
  }

  function follow(state: ServerState): void {
    show();
    switch (state.name) {
      case "missing":
        void installer.offer();
        void followPython();
        break;
      case "running":
        focus();
        void installer.offerUpdate();
        break;
      case "failed":
        void complain(state.message);
        break;
    }
  }

  /** Look again when another environment is chosen; this starts the Python extension. */
  async function followPython(): Promise<void> {
    if (isFollowingPython) {
      return;
    }
    isFollowingPython = true;
    const subscription = await onDidChooseEnvironment(() => {
      if (running.state.name === "missing") {
        void running.restart();
      }
    });
    if (subscription !== undefined) {
      context.subscriptions.push(subscription);
    }
  }

  /** Tell the server which document the user is at. */
  function focus(): void {
    const document = window.activeTextEditor?.document;
    if (document !== undefined && isSelected(document)) {
      const textDocument = { uri: document.uri.toString() };
      void running.notify("textDocument/didFocus", { textDocument });
    }
  }

  async function complain(message: string): Promise<void> {
    const [restart, openLog] = ["Restart", "Show Log"];
    const text = `lsp-stablecode: ${message}`;
    const answer = await window.showErrorMessage(text, restart, openLog);
    if (answer === restart) {
      await running.restart();
    } else if (answer === openLog) {
      log.show();
    }
  }

  context.subscriptions.push(
    log,
    switches,
    suggestions,
    model,
    reports,
    item,
    registerCommands({
      context,
      log,
      server: running,
      switches,
      reports,
      installer,
      run: runner.run,
      view,
    }),
    running.onDidChange(follow),
    model.onDidChange(show),
    suggestions.onDidChangeThinking(show),
    switches.onDidChange(() => {
      show();
      if (switches.silence(window.activeTextEditor?.document) !== undefined) {
        void commands.executeCommand("editor.action.inlineSuggest.hide");
      }
    }),
    suggestions.onDidDisplay((shown) =>
      running.notify("textDocument/didShowCompletion", { item: shown }),
    ),
    suggestions.onDidAcceptPart(({ item: accepted, length }) =>
      running.notify("textDocument/didPartiallyAcceptCompletion", {
        item: accepted,
        acceptedLength: length,
      }),
    ),
    window.onDidChangeActiveTextEditor(() => {
      show();
      focus();
    }),
    workspace.onDidChangeConfiguration((event) => {
      if (concernsTheProcess((section) => event.affectsConfiguration(section))) {
        void running.restart();
      }
    }),
    workspace.onDidGrantWorkspaceTrust(() => void running.restart()),
  );
  show();
  // Not awaited: a server that hangs must not keep the extension from being there.
  void running.restart();
}

export async function deactivate(): Promise<void> {
  await stop?.();
}

function setContext(key: string, value: boolean): void {
  void commands.executeCommand("setContext", `${SECTION}.${key}`, value);
}
