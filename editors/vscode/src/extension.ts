/** What VS Code calls, and how the parts are put together. */

import { commands, type ExtensionContext, window, workspace } from "vscode";
import { isSelected } from "./documents.ts";
import { Installer } from "./install.ts";
import { showMenu } from "./menu.ts";
import { ModelWatch } from "./model-watch.ts";
import { switchModel } from "./models.ts";
import { Reports } from "./reports.ts";
import { Server } from "./server.ts";
import { concernsTheProcess, SECTION } from "./settings.ts";
import { StatusItem } from "./status-item.ts";
import { Suggestions } from "./suggestions.ts";
import { onDidChooseEnvironment } from "./surroundings.ts";
import { Switches } from "./switches.ts";
import type { View } from "./view.ts";

const SNOOZE_MINUTES = [5, 15, 60];

let server: Server | undefined;

export async function activate(context: ExtensionContext): Promise<void> {
  const log = window.createOutputChannel("lsp-stablecode", { log: true });
  const switches = new Switches();
  const suggestions = new Suggestions((document) => switches.silence(document));
  const { provideInlineCompletionItems } = suggestions;
  const running = new Server(context, log, { provideInlineCompletionItems });
  server = running;
  const model = new ModelWatch(running);
  const reports = new Reports();
  const item = new StatusItem();
  const installer = new Installer(context, log, running);

  const view = (): View => ({
    server: running.state,
    model: model.status,
    loading: model.loading,
    notice: model.notice,
    silence: switches.silence(window.activeTextEditor?.document),
    thinking: suggestions.thinking,
  });
  const show = () => item.show(view());
  const setContext = (key: string, value: boolean) =>
    void commands.executeCommand("setContext", `${SECTION}.${key}`, value);

  context.subscriptions.push(
    log,
    switches,
    suggestions,
    model,
    reports,
    item,
    running.onDidChange(({ name }) => {
      setContext("running", name === "running");
      setContext("installed", running.found !== undefined);
      show();
      if (name === "missing") {
        void installer.offer();
      } else if (name === "running") {
        focus();
        void installer.offerUpdate();
      } else if (name === "failed") {
        void complain();
      }
    }),
    model.onDidChange(show),
    suggestions.onDidChangeThinking(show),
    switches.onDidChange(() => {
      setContext("snoozed", switches.isSnoozed);
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
    ...Object.entries({
      showMenu: () =>
        showMenu(
          view(),
          window.activeTextEditor?.document.languageId,
          "lsp-stablecode",
        ),
      toggleSuggestions: () => switches.toggle(),
      toggleLanguage: async () => {
        const document = window.activeTextEditor?.document;
        if (document !== undefined) {
          await switches.toggleLanguage(document);
        }
      },
      snoozeSuggestions: async (minutes?: unknown) => {
        const chosen = typeof minutes === "number" ? minutes : await askForMinutes();
        if (chosen !== undefined) {
          switches.snooze(chosen);
        }
      },
      resumeSuggestions: () => switches.resume(),
      explainSuggestion: () => {
        const document = window.activeTextEditor?.document;
        const uri = document && isSelected(document) ? document.uri : undefined;
        return reports.explain(running, uri?.toString());
      },
      switchModel: async () => {
        if (running.found !== undefined) {
          await switchModel(running.found, log);
        }
      },
      restartServer: () => running.restart(),
      installServer: () => installer.install(),
      runDoctor: async () => {
        if (running.found !== undefined) {
          await reports.runDoctor(running.found, log);
        }
      },
      showLog: () => log.show(),
      openSettings: () =>
        commands.executeCommand(
          "workbench.action.openSettings",
          `@ext:${context.extension.id}`,
        ),
    }).map(([name, action]) => commands.registerCommand(`${SECTION}.${name}`, action)),
  );

  function focus(): void {
    const document = window.activeTextEditor?.document;
    if (document !== undefined && isSelected(document)) {
      const textDocument = { uri: document.uri.toString() };
      void running.notify("textDocument/didFocus", { textDocument });
    }
  }

  async function complain(): Promise<void> {
    if (running.state.name !== "failed") {
      return;
    }
    const [restart, openLog] = ["Restart", "Show Log"];
    const answer = await window.showErrorMessage(
      `lsp-stablecode: ${running.state.message}`,
      restart,
      openLog,
    );
    if (answer === restart) {
      await running.restart();
    } else if (answer === openLog) {
      log.show();
    }
  }

  show();
  await running.restart();
  const chosen = await onDidChooseEnvironment(() => {
    if (running.state.name === "missing") {
      void running.restart();
    }
  });
  if (chosen !== undefined) {
    context.subscriptions.push(chosen);
  }
}

export async function deactivate(): Promise<void> {
  await server?.dispose();
}

async function askForMinutes(): Promise<number | undefined> {
  const chosen = await window.showQuickPick(
    SNOOZE_MINUTES.map((minutes) => ({ label: `${minutes} minutes`, minutes })),
    { title: "Suggest nothing for" },
  );
  return chosen?.minutes;
}
