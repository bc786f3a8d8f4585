;;; lsp-stablecode.el --- Code completion with a local model -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: Apache-2.0
;; Version: 0.1.0
;; Package-Requires: ((emacs "28.1") (lsp-mode "10.0.0"))
;; Keywords: convenience, languages

;;; Commentary:

;; Registers the language server lsp-stablecode with lsp-mode, beside the
;; language's own server.  Suggestions are shown by lsp-mode's
;; `lsp-inline-completion-mode', which starts by itself.

;;; Code:

(require 'lsp-mode)
(require 'lsp-inline-completion)

(defgroup lsp-stablecode nil
  "Code completion with a local model."
  :group 'lsp-mode)

(defcustom lsp-stablecode-command '("lsp-stablecode" "serve")
  "The program and its arguments."
  :type '(repeat string)
  :group 'lsp-stablecode)

(defcustom lsp-stablecode-modes '(prog-mode)
  "Major modes that get suggestions, and all modes derived from them."
  :type '(repeat symbol)
  :group 'lsp-stablecode)

(defcustom lsp-stablecode-settings nil
  "Settings as a property list, such as (:model \"starter\" :maxNewTokens 64).
Lists are vectors, false is :json-false.  Read when the server starts."
  :type 'plist
  :group 'lsp-stablecode)

(defun lsp-stablecode--wanted-p (_file mode)
  "Return non-nil when MODE gets suggestions."
  (apply #'provided-mode-derived-p mode lsp-stablecode-modes))

(lsp-register-client
 (make-lsp-client
  :new-connection (lsp-stdio-connection (lambda () lsp-stablecode-command))
  :activation-fn #'lsp-stablecode--wanted-p
  :initialization-options (lambda () lsp-stablecode-settings)
  :add-on? t
  :server-id 'lsp-stablecode))

;; Terminals cannot send lsp-mode's own key, C-<return>.  This map is active only
;; while a suggestion is shown, so TAB indents as ever otherwise.
(define-key lsp-inline-completion-active-map (kbd "TAB")
            #'lsp-inline-completion-accept)

(provide 'lsp-stablecode)
;;; lsp-stablecode.el ends here
