/** The commands of the manifest. */

import {
  commands,
  Disposable,
  type ExtensionContext,
  type LogOutputChannel,
  window,
} from "vscode";
import { isSelected } from "./documents.ts";
import type { Installer } from "./install.ts";
import { showMenu } from "./menu.ts";
import { switchModel } from "./models.ts";
import type { Reports } from "./reports.ts";
import type { Run } from "./run.ts";
import type { Server } from "./server.ts";
import { SECTION } from "./settings.ts";
import type { Switches } from "./switches.ts";
import type { View } from "./view.ts";

const SNOOZE_MINUTES = [5, 15, 60];

/** What the commands work with. */
export interface Parts {
  readonly context: ExtensionContext;
  readonly log: LogOutputChannel;
  readonly server: Server;
  readonly switches: Switches;
  readonly reports: Reports;
  readonly installer: Installer;
  readonly run: Run;
  readonly view: () => View;
}

export function registerCommands(parts: Parts): Disposable {
  const { context, log, server, switches, reports, installer, run, view } = parts;
  const actions = {
    showMenu: () => showMenu(view(), window.activeTextEditor?.document.languageId),
    toggleSuggestions: () => switches.toggle(window.activeTextEditor?.document),
    toggleLanguage: async () => {
      const document = window.activeTextEditor?.document;
      if (document !== undefined) {
        await switches.toggleLanguage(document);
      }
    },
    snoozeSuggestions: async (given?: unknown) => {
      const minutes = typeof given === "number" ? given : await askForMinutes();
      if (minutes !== undefined) {
        switches.snooze(minutes);
      }
    },
    resumeSuggestions: () => switches.resume(),
    explainSuggestion: () => {
      const document = window.activeTextEditor?.document;
      const uri = document && isSelected(document) ? document.uri : undefined;
      return reports.explain(server, uri?.toString());
    },
    switchModel: async () => {
      if (server.found !== undefined) {
        await switchModel(server.found, run, log);
      }
    },
    restartServer: () => server.restart(),
    installServer: () => installer.install(),
    runDoctor: async () => {
      if (server.found !== undefined) {
        await reports.runDoctor(server.found, run, log);
      }
    },
    showLog: () => log.show(),
    openSettings: () =>
      commands.executeCommand(
        "workbench.action.openSettings",
        `@ext:${context.extension.id}`,
      ),
  };
  return Disposable.from(
    ...Object.entries(actions).map(([name, action]) =>
      commands.registerCommand(`${SECTION}.${name}`, action),
    ),
  );
}

async function askForMinutes(): Promise<number | undefined> {
  const chosen = await window.showQuickPick(
    SNOOZE_MINUTES.map((minutes) => ({ label: `${minutes} minutes`, minutes })),
    { title: "Suggest nothing for" },
  );
  return chosen?.minutes;
}
