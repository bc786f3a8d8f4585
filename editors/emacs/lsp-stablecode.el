;;; lsp-stablecode.el --- Code completion with a local model -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The lsp-stablecode authors

;; Author: The lsp-stablecode authors
;; Version: 0.1.0
;; Package-Requires: ((emacs "28.1") (lsp-mode "10.0.0"))
;; Keywords: convenience, languages, tools
;; SPDX-License-Identifier: Apache-2.0

;;; Commentary:

;; Shows what a language model on your own machine would type next, as grey
;; text at point.  The model is served by the program lsp-stablecode, which
;; runs with lsp-mode beside the language's own server:
;;
;;   (require 'lsp-stablecode)
;;   (add-hook 'prog-mode-hook #'lsp-deferred)
;;
;; While a suggestion is shown, TAB accepts it, M-f its next word, M-e its
;; next line; M-n and M-p show others and C-g dismisses it.  Otherwise these
;; keys are what they were.  The prefix C-c + has the other commands, and
;; `M-x customize-group RET lsp-stablecode' the options.
;;
;; lsp-mode's own `lsp-inline-completion-mode' asks half a second after the
;; last key at the earliest, and hides the suggestion on every key.  So
;; `lsp-stablecode-mode' takes its place where this server runs: it asks at
;; once, and what is typed as suggested stays part of the suggestion.

;;; Code:

(require 'cl-lib)
(require 'compile)
(require 'easymenu)
(require 'lsp-mode)
(require 'seq)

(declare-function evil-declare-change-repeat "ext:evil-common")
(declare-function evil-declare-ignore-repeat "ext:evil-common")
(declare-function lsp-inline-completion-mode "ext:lsp-inline-completion")
(defvar company-candidates)
(defvar lsp-inline-completion-enable)
(defvar lsp-stablecode-mode)

(defconst lsp-stablecode-version "0.1.0"
  "The version of this package.")

;;;; Options

(defgroup lsp-stablecode nil
  "Code completion with a local model."
  :group 'lsp-mode
  :prefix "lsp-stablecode-")

(defcustom lsp-stablecode-command '("lsp-stablecode" "serve")
  "The program that serves the model, and its arguments.
Options of the command line, such as --log-level, go after \"serve\"."
  :type '(repeat string))

(defcustom lsp-stablecode-shared-engine t
  "Whether all editors share one model in memory.
Otherwise this Emacs has one of its own.  The option --shared follows
\"serve\" in `lsp-stablecode-command' then."
  :type 'boolean)

(defcustom lsp-stablecode-modes
  '(prog-mode conf-mode html-mode yaml-mode yaml-ts-mode)
  "Major modes that get suggestions, with all modes derived from them.
The server is started only in buffers where lsp-mode is."
  :type '(repeat symbol))

(defcustom lsp-stablecode-automatic t
  "Whether to suggest while you type.
Otherwise only \\[lsp-stablecode-suggest] does."
  :type 'boolean)

(defcustom lsp-stablecode-idle-delay 0
  "Seconds without a key before the server is asked.
The server waits as well, a fraction of the usual gap between your
keys, unless it knows the answer; so more is hardly ever needed here."
  :type 'number)

(defcustom lsp-stablecode-beside-menus t
  "Whether to suggest while a completion menu is open.
A menu is that of company, of corfu or of `completion-at-point'.
Its keys come before ours, and only the suggestion's first line is
shown."
  :type 'boolean)

(defcustom lsp-stablecode-inhibit-functions '(lsp-stablecode-evil-normal-p)
  "Functions without arguments; if one returns non-nil, nothing is suggested.
A suggestion that was asked for by hand is shown all the same."
  :type '(repeat function))

;; Written by tests/editors/emacs_settings.py.
;; settings:begin
(defconst lsp-stablecode--settings
  '((:model string
     "A name from lsp-stablecode models list, a directory, a GGUF file or a \
Hugging Face repository.")
    (:device string
     "Where the model is computed.")
    (:dtype (choice (const "auto") (const "bfloat16") (const "float16")
              (const "float32") (const "int8") (const "int4"))
     "The number format of the weights; auto takes what is fast here and loses \
little.")
    (:cacheDtype (choice (const "auto") (const "bfloat16") (const "int8"))
     "The number format of a processor's cache of keys and values; auto takes \
int8 only where it saves much memory.")
    (:threads (choice (const "auto") natnum)
     "How many processor threads compute; auto takes one per core, at most 8.")
    (:niceness natnum
     "How far the processor threads that compute stand back when other \
programs want the processor, from 0, not at all, to 19.")
    (:contextTokens (choice (const "auto") natnum)
     "Tokens that prompt and completion may hold together.")
    (:memoryGib (choice (const "auto") number)
     "GiB of memory that weights and caches may take, of all models together; \
auto takes what is quick and fits what is free.")
    (:maxNewTokens natnum
     "The most tokens in one suggestion.")
    (:temperature number
     "At 0 the same text at the same place always gets the same suggestion.")
    (:candidates natnum
     "How many different suggestions to seek when asked by hand.")
    (:multiLine (choice (const "auto") (const "always") (const "never"))
     "Whether to suggest a whole block; auto decides from the cursor's place.")
    (:fimOrder (choice (const "auto") (const "psm") (const "spm"))
     "Whether the prompt puts the text before the cursor first (psm) or the \
text after it (spm).")
    (:debounceMs (choice (const "auto") natnum)
     "Milliseconds of rest before a suggestion is computed; auto follows your \
typing.")
    (:context boolean
     "Whether a prompt may hold text of other documents: open ones, what you \
edited lately, definitions of names used at the cursor.")
    (:leastConfidence (choice (const "auto") number)
     "A suggestion that nobody asked for by hand is shown if it is right at \
least this probably; auto follows what you accept.")
    (:learnFromUse boolean
     "Whether to count, on this machine, which suggestions you accept; no text \
is kept.")
    (:lookAhead (choice (const "auto") (const "always") (const "never"))
     "Whether to compute what follows a suggestion while it is shown; auto \
does unless the computer runs on its battery or is short of memory.")
    (:unloadAfterMinutes (choice (const "auto") natnum)
     "After so long without a request the model's memory is freed, until \
somebody asks again; auto is 30, and 0 keeps it.")
    (:enable boolean
     "Whether to suggest anything.")
    (:disabledLanguages (repeat string)
     "LSP language ids, such as markdown, without suggestions.")
    (:exclude (repeat string)
     "Globs as in .gitignore; documents that match never enter a prompt.")
    (:completionFallback (choice (const "auto") (const "always") (const "never"))
     "Whether to offer suggestions in the completion menu; auto does so for \
editors without inline completion.")
    (:allowDownload boolean
     "Whether a missing model may be fetched from the Hugging Face hub.")
    (:backend (choice (const "local") (const "openai"))
     "Whether this machine computes the model, or a server that speaks \
OpenAI's completions API, such as vLLM: with openai, text around the \
cursor is sent to endpoint.")
    (:endpoint string
     "That server's address, for backend openai.")
    (:remoteModel string
     "Which of that server's models to ask, by its name there; auto takes the \
first. model says which one that is, where its name does not.")
    (:apiKeyFile string
     "A file with the key for that server, never the key itself; auto takes \
the environment variable LSP_STABLECODE_API_KEY, or the file that \
LSP_STABLECODE_API_KEY_FILE names.")
    (:remoteTimeoutMs natnum
     "Milliseconds without a token after which a request to that server is \
given up.")
    (:logLevel (choice (const "error") (const "warning") (const "info")
              (const "debug"))
     "How much is written to stderr."))
  "The server's settings: what each may hold, and what it is for.")
;; settings:end

(defcustom lsp-stablecode-settings nil
  "The server's settings, such as (:model \"starter\" :maxNewTokens 64).
What is not named here has the server's default.  The README's
section \"Settings\" says what each is for.

`lsp-stablecode-set' and Customize tell a running server of changes."
  :type `(plist :options
                ,(mapcar (pcase-lambda (`(,key ,type ,purpose))
                           `((const :tag ,(substring (symbol-name key) 1)
                                    :doc ,purpose ,key)
                             ,type))
                         lsp-stablecode--settings))
  :initialize #'custom-initialize-default
  :set (lambda (symbol value)
         (set-default symbol value)
         (lsp-stablecode--push-settings)))

(defface lsp-stablecode-suggestion '((t :inherit shadow))
  "Face of suggestions.")

(defun lsp-stablecode-evil-normal-p ()
  "Whether Evil is on and what is typed is no text."
  (and (bound-and-true-p evil-local-mode)
       (not (memq (bound-and-true-p evil-state) '(insert emacs)))))

;;;; The server

(defvar lsp-stablecode--states (make-hash-table :test #'eq :weakness 'key)
  "What each workspace said last of its server, as a property list.
Its keys are :kind, :busy, :message, :loading, a text, and :rests, whether
nothing but the model's rest is behind the kind \"Inactive\".")

(defvar lsp-stablecode--missing-told nil
  "Programs that the user was told are missing.")

(defun lsp-stablecode--wanted-p (_file mode)
  "Whether buffers of the major mode MODE get suggestions."
  (apply #'provided-mode-derived-p mode lsp-stablecode-modes))

(defun lsp-stablecode--present-p ()
  "Whether the server's program is there; say so, once, if it is not."
  (let ((program (car lsp-stablecode-command)))
    (or (executable-find program t)
        (let ((place (or (file-remote-p default-directory) "")))
          (unless (member (concat place program) lsp-stablecode--missing-told)
            (push (concat place program) lsp-stablecode--missing-told)
            (display-warning
             'lsp-stablecode
             (format-message
              "There is no program `%s'%s, so nothing is suggested.
Install lsp-stablecode, or name its place in `lsp-stablecode-command'."
              program (if (equal place "") "" (concat " on " place)))))
          nil))))

(defun lsp-stablecode--server-command ()
  "Return the server's command line, as a list."
  (let ((rest (member "serve" lsp-stablecode-command)))
    (if (and lsp-stablecode-shared-engine rest (not (member "--shared" rest)))
        (append (butlast lsp-stablecode-command (length rest))
                '("serve" "--shared")
                (cdr rest))
      lsp-stablecode-command)))

(defun lsp-stablecode--initialization-options ()
  "Return who we are, so that the server sends didChangeStatus."
  (list :editorInfo (list :name "Emacs" :version emacs-version)
        :editorPluginInfo (list :name "lsp-stablecode.el"
                                :version lsp-stablecode-version)))

(defun lsp-stablecode--configuration ()
  "Return the settings as what lsp-mode can send."
  (let ((section (make-hash-table :test #'equal)))
    (cl-loop for (key value) on (default-value 'lsp-stablecode-settings) by #'cddr
             do (puthash (substring (symbol-name key) 1)
                         (pcase (cadr (assq key lsp-stablecode--settings))
                           ('boolean (if (memq value '(nil :json-false))
                                         :json-false
                                       t))
                           (`(repeat . ,_) (vconcat value))
                           (_ value))
                         section))
    section))

(defun lsp-stablecode--answer-configuration (_workspace params)
  "Answer the request workspace/configuration with PARAMS."
  (vconcat (mapcar (lambda (_item) (lsp-stablecode--configuration))
                   (lsp-get params :items))))

(defun lsp-stablecode--ours-p (workspace)
  "Whether WORKSPACE is one of our server."
  (and workspace
       (memq (lsp--client-server-id (lsp--workspace-client workspace))
             '(lsp-stablecode lsp-stablecode-tramp))))

(defun lsp-stablecode--workspaces ()
  "Return the workspaces of all running servers."
  (seq-filter #'lsp-stablecode--ours-p (lsp--session-workspaces (lsp-session))))

(defun lsp-stablecode--workspace ()
  "Return the workspace of this buffer's server, or nil."
  (seq-find (lambda (workspace)
              (and (lsp-stablecode--ours-p workspace)
                   (eq (lsp--workspace-status workspace) 'initialized)))
            lsp--buffer-workspaces))

(defun lsp-stablecode--workspace-or-error ()
  "Return the workspace of this buffer's server, or of any."
  (or (lsp-stablecode--workspace)
      (car (lsp-stablecode--workspaces))
      (user-error "No lsp-stablecode runs; start it with M-x lsp")))

(defun lsp-stablecode--notify (method params)
  "Send this buffer's server the notification METHOD with PARAMS."
  (when-let* ((workspace (lsp-stablecode--workspace)))
    (with-lsp-workspace workspace (lsp-notify method params))))

(defun lsp-stablecode--execute (command arguments &optional callback workspace)
  "Have the server run COMMAND with the vector ARGUMENTS.
CALLBACK gets the result.  The server is that of WORKSPACE, or this
buffer's, or any."
  (with-lsp-workspace (or workspace (lsp-stablecode--workspace-or-error))
    (lsp-request-async "workspace/executeCommand"
                       (list :command command :arguments arguments)
                       (or callback #'ignore)
                       :mode 'detached)))

(defun lsp-stablecode--push-settings ()
  "Tell all running servers the settings."
  (when (featurep 'lsp-stablecode)
    (dolist (workspace (lsp-stablecode--workspaces))
      (with-lsp-workspace workspace
        (lsp-notify "workspace/didChangeConfiguration"
                    (list :settings
                          (list :lsp-stablecode
                                (lsp-stablecode--configuration))))))))

(defun lsp-stablecode--note-state (workspace &rest properties)
  "Remember PROPERTIES of WORKSPACE's server and show them."
  (let ((state (copy-sequence (gethash workspace lsp-stablecode--states))))
    (cl-loop for (key value) on properties by #'cddr
             do (setq state (plist-put state key value)))
    (puthash workspace state lsp-stablecode--states)
    (force-mode-line-update t)))

(defun lsp-stablecode--on-status (workspace params)
  "Take the notification didChangeStatus with PARAMS of WORKSPACE."
  (let ((kind (lsp-get params :kind)))
    (lsp-stablecode--note-state workspace
                                :kind kind
                                :busy (lsp-get params :busy)
                                :message (lsp-get params :message)
                                :rests nil)
    (when (equal kind "Inactive")
      (lsp-stablecode--execute
       "lsp-stablecode.status" []
       (lambda (status)
         (lsp-stablecode--note-state
          workspace :rests (and (lsp-get status :enabled)
                                (member (lsp-get status :state)
                                        '("idle" "resting")))))
       workspace))))

(defun lsp-stablecode--on-progress (workspace params)
  "Take the notification $/progress with PARAMS of WORKSPACE."
  (let* ((value (lsp-get params :value))
         (percentage (lsp-get value :percentage)))
    (lsp-stablecode--note-state
     workspace :loading (unless (equal (lsp-get value :kind) "end")
                          (if percentage (format "%d%%" percentage) "loading"))))
  (funcall lsp-progress-function workspace params))

(lsp-register-client
 (make-lsp-client
  :new-connection (lsp-stdio-connection #'lsp-stablecode--server-command
                                        #'lsp-stablecode--present-p)
  :activation-fn #'lsp-stablecode--wanted-p
  :server-id 'lsp-stablecode
  :add-on? t
  ;; Each server may have a model in memory.
  :multi-root t
  :initialization-options #'lsp-stablecode--initialization-options
  :before-file-open-fn #'lsp-stablecode--return-columns
  :request-handlers
  (lsp-ht ("workspace/configuration" #'lsp-stablecode--answer-configuration))
  :notification-handlers
  (lsp-ht ("didChangeStatus" #'lsp-stablecode--on-status)
          ("$/progress" #'lsp-stablecode--on-progress))
  :after-open-fn #'lsp-stablecode--start))

;;;; Columns

;; What a column is the servers agree upon with lsp-mode one by one, but lsp-mode
;; counts in one way per buffer, that of the server that was opened last.  Others
;; then get what they do not understand; ruff panics at the first emoji.  So the
;; buffer's way is left to the other servers, and ours is used for our server only.

(defvar-local lsp-stablecode--end-column nil
  "The column in Emacs's characters where the text about to change ends.")

(defun lsp-stablecode--return-columns (workspace)
  "Let this buffer count columns as its servers other than WORKSPACE's want it."
  (when-let* ((others (seq-filter (lambda (other)
                                    (and (not (eq other workspace))
                                         (memq (current-buffer)
                                               (lsp--workspace-buffers other))))
                                  (lsp--session-workspaces (lsp-session))))
              (encoding (seq-some (lambda (other)
                                    (lsp:server-capabilities-position-encoding?
                                     (lsp--workspace-server-capabilities other)))
                                  others)))
    (lsp--set-position-encoding encoding)))

(defun lsp-stablecode--note-end-column (_start end)
  "Remember the column of END, where the text about to change ends."
  (setq lsp-stablecode--end-column
        (lsp-save-restriction-and-excursion
          (goto-char end)
          (- end (line-beginning-position)))))

(defun lsp-stablecode--in-characters (function &rest arguments)
  "Call FUNCTION with ARGUMENTS, counting columns in characters for our server.
That is UTF-32, which lsp-mode prefers and the server agrees to."
  (if (not (lsp-stablecode--ours-p lsp--cur-workspace))
      (apply function arguments)
    (let ((lsp--position-column-function #'lsp--utf-32-column)
          (lsp--move-to-column-function #'lsp--move-to-utf-32-column)
          (lsp--before-change-vals (copy-tree lsp--before-change-vals)))
      (when lsp-stablecode--end-column
        (plist-put (plist-get lsp--before-change-vals :end-pos)
                   :character lsp-stablecode--end-column))
      (apply function arguments))))

(advice-add 'lsp--text-document-content-change-event
            :around #'lsp-stablecode--in-characters)

;;;; The suggestion that is shown

(cl-defstruct lsp-stablecode--shown
  "A suggestion on the screen, and what else could be there.
CHOICES are lists of a server's item, the text behind point that its
range covered and how many characters the buffer has behind that;
INDEX says which is shown.  START is a marker where the item's text
begins; point is behind what was typed or accepted of it since.
OVERLAY reaches from point to the range's end, over text that the item
brings itself.  OUTDATED says that the text around it was edited.
REPORTED are the items that the server knows were shown."
  choices index start overlay outdated reported)

(defvar-local lsp-stablecode--shown nil
  "The suggestion that is shown in this buffer, or nil.")

(defvar-local lsp-stablecode--keys nil
  "Whether the keys of `lsp-stablecode-suggestion-map' are there.")

(defvar-local lsp-stablecode--keys-first nil
  "Whether they come before those of all other minor modes.")

(defvar-local lsp-stablecode--seen nil
  "The buffer's tick and point after the last command, as a cons.")

(defvar-local lsp-stablecode--timer nil
  "The timer that will ask the server.")

(defun lsp-stablecode--choice ()
  "Return the choice that is shown."
  (nth (lsp-stablecode--shown-index lsp-stablecode--shown)
       (lsp-stablecode--shown-choices lsp-stablecode--shown)))

(defun lsp-stablecode--item ()
  "Return the item that is shown."
  (car (lsp-stablecode--choice)))

(defun lsp-stablecode--end (choice)
  "Return where the range of CHOICE ends now, all edits being before that."
  (- (1+ (buffer-size)) (nth 2 choice)))

(defun lsp-stablecode--outer-places (text)
  "Return the places in TEXT, to come at point, of what closes none of its own.
The last place comes first."
  (let ((string (nth 3 (syntax-ppss)))
        opened places)
    (dotimes (place (length text))
      (let* ((character (aref text place))
             (syntax (char-syntax character))
             (opener (if (eq syntax ?\)) (matching-paren character) character)))
        (cond ((eq character string)
               (setq string nil
                     opened nil)
               (push place places))
              ((eq syntax ?\() (push character opened))
              ((memq opener opened) (setq opened (cdr (memq opener opened))))
              ((eq syntax ?\") (push character opened))
              (t (push place places)))))
    places))

(defun lsp-stablecode--woven (right text places)
  "Return the one of PLACES in TEXT for each character of RIGHT, nil for none.
PLACES are the last first.  A blank goes with what follows it."
  (let ((place (length text))
        woven)
    (dolist (character (nreverse (append right nil)) woven)
      (unless (memq character '(?\s ?\t ?\n))
        (while (and places (not (eq (aref text (car places)) character)))
          (pop places))
        (setq place (pop places)))
      (push place woven))))

(defun lsp-stablecode--places (right text)
  "Return the place of each character of RIGHT in TEXT, nil for none.
RIGHT is what is behind point already, and TEXT is to come before it."
  (unless (equal right "")
    (let ((woven (lsp-stablecode--woven
                  right text (lsp-stablecode--outer-places text))))
      (if (memq nil woven)
          ;; In prose, say, an apostrophe is no bracket.
          (lsp-stablecode--woven
           right text (nreverse (number-sequence 0 (1- (length text)))))
        woven))))

(defconst lsp-stablecode--closers "\\`\\(?:[ \t\n]*[])}\"'`]\\)*\\'"
  "What Emacs adds behind point to what is typed.")

(defun lsp-stablecode--possible-p ()
  "Whether a suggestion can be here.
In a keyboard macro the same keys have to do the same, whatever the
server says when.  Overwrite mode does not see what is hidden."
  (not (or buffer-read-only overwrite-mode
           defining-kbd-macro executing-kbd-macro)))

(defun lsp-stablecode--rest-of (choice)
  "Return what is missing of the text of CHOICE, or nil if it does not fit here."
  (pcase-let* ((shown lsp-stablecode--shown)
               (start (marker-position (lsp-stablecode--shown-start shown)))
               (`(,item ,covered) choice)
               (end (lsp-stablecode--end choice))
               (text (lsp-get item :insertText)))
    (when (and start
               (lsp-stablecode--possible-p)
               (not (lsp-stablecode--shown-outdated shown))
               (<= (point-min) start (point) end (point-max)))
      (let* ((typed (buffer-substring-no-properties start (point)))
             (right (buffer-substring-no-properties (point) end))
             (rest (string-remove-prefix typed text)))
        (and (string-prefix-p typed text)
             (not (equal rest ""))
             (or (string-suffix-p right covered)
                 (string-match-p lsp-stablecode--closers right))
             ;; Otherwise what is hidden would be there twice.
             (not (memq nil (lsp-stablecode--places right rest)))
             rest)))))

(defun lsp-stablecode--rest ()
  "Return what is missing of the suggestion, or nil if there is none that fits."
  (and lsp-stablecode--shown
       (lsp-stablecode--rest-of (lsp-stablecode--choice))))

(defun lsp-stablecode--menu-open-p ()
  "Whether a completion menu is open."
  (or completion-in-region-mode (bound-and-true-p company-candidates)))

(defun lsp-stablecode--visible-part (rest)
  "Return how much of REST there is room for."
  (cond ((not (lsp-stablecode--menu-open-p)) rest)
        ;; Company shows its only candidate where we would be.
        ((and (bound-and-true-p company-candidates)
              (null (cdr company-candidates)))
         "")
        (lsp-stablecode-beside-menus
         (substring rest 0 (string-search "\n" rest)))
        (t "")))

(defun lsp-stablecode--draw (rest)
  "Show REST, what is missing of the suggestion, at point."
  (let* ((overlay (lsp-stablecode--shown-overlay lsp-stablecode--shown))
         (visible (lsp-stablecode--visible-part rest))
         (text (propertize visible 'face 'lsp-stablecode-suggestion)))
    ;; The cursor would stand behind the suggestion, but for a character that
    ;; asks for it, and a newline cannot.
    (when (string-prefix-p "\n" text)
      (setq text (concat " " text)))
    (unless (equal text "")
      (put-text-property 0 1 'cursor 1 text))
    (move-overlay overlay
                  (point) (lsp-stablecode--end (lsp-stablecode--choice)))
    (overlay-put overlay 'window (selected-window))
    (overlay-put overlay 'after-string text)
    (overlay-put overlay 'invisible (not (equal visible "")))
    (setq lsp-stablecode--keys (not (equal visible ""))
          lsp-stablecode--keys-first (and lsp-stablecode--keys
                                          (not completion-in-region-mode)))
    (let ((item (lsp-stablecode--item)))
      (unless (or (equal visible "")
                  (memq item (lsp-stablecode--shown-reported
                              lsp-stablecode--shown)))
        (push item (lsp-stablecode--shown-reported lsp-stablecode--shown))
        (lsp-stablecode--notify "textDocument/didShowCompletion"
                                (list :item item))))))

(defun lsp-stablecode--hide ()
  "Take the suggestion away."
  (when lsp-stablecode--shown
    (delete-overlay (lsp-stablecode--shown-overlay lsp-stablecode--shown))
    (set-marker (lsp-stablecode--shown-start lsp-stablecode--shown) nil)
    (setq lsp-stablecode--shown nil))
  (setq lsp-stablecode--keys nil
        lsp-stablecode--keys-first nil))

(defun lsp-stablecode--refresh (&rest _)
  "Draw the suggestion anew, or take it away if it fits no longer."
  (if-let* ((rest (lsp-stablecode--rest)))
      (lsp-stablecode--draw rest)
    (lsp-stablecode--hide)))

(defun lsp-stablecode--region (item)
  "Return the range of ITEM as a cons of two positions."
  (with-lsp-workspace (lsp-stablecode--workspace)
    (lsp-stablecode--in-characters #'lsp--range-to-region
                                   (lsp-get item :range))))

(defun lsp-stablecode--show (items)
  "Show the first of ITEMS, if it fits at point."
  (lsp-stablecode--hide)
  (pcase-let* ((regions (mapcar #'lsp-stablecode--region items))
               (`(,start . ,end) (car regions))
               (overlay (make-overlay start end nil nil t)))
    (overlay-put overlay 'priority 1000)
    (overlay-put overlay 'lsp-stablecode t)
    (setq lsp-stablecode--shown
          (make-lsp-stablecode--shown
           :choices (cl-loop for item in items
                             for (_ . end) in regions
                             for right = (max (point) end)
                             collect (list item
                                           (buffer-substring-no-properties
                                            (point) right)
                                           (- (1+ (buffer-size)) right)))
           :index 0 :start (copy-marker start) :overlay overlay))
    (lsp-stablecode--refresh)))

;;;; Asking

(defun lsp-stablecode--cancel ()
  "Forget about the request under way, and the one that was to be sent."
  (when lsp-stablecode--timer
    (cancel-timer lsp-stablecode--timer)
    (setq lsp-stablecode--timer nil))
  (lsp-cancel-request-by-token :lsp-stablecode))

(defun lsp-stablecode--request (by-hand callback)
  "Ask for suggestions at point, BY-HAND or not.
CALLBACK gets a list of items, unless anything has happened meanwhile."
  (lsp-stablecode--cancel)
  (when-let* ((workspace (lsp-stablecode--workspace))
              (point (point)))
    (with-lsp-workspace workspace
      (lsp-request-async
       "textDocument/inlineCompletion"
       (list :textDocument (lsp--text-document-identifier)
             :position (lsp-stablecode--in-characters #'lsp--cur-position)
             :context (list :triggerKind (if by-hand 1 2)))
       (lambda (result)
         (when (and lsp-stablecode-mode
                    (eq (window-buffer) (current-buffer))
                    (= (point) point))
           (funcall callback (append (lsp-get result :items) nil))))
       :mode 'tick
       :error-handler (lambda (problem)
                        (lsp-log "lsp-stablecode: %s"
                                 (lsp-get problem :message)))
       :cancel-token :lsp-stablecode))))

(defun lsp-stablecode--ask (buffer)
  "Ask for suggestions at point in BUFFER, if it is still before the user."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (setq lsp-stablecode--timer nil)
      (when (and lsp-stablecode-mode (eq buffer (window-buffer)))
        (lsp-stablecode--request
         nil (lambda (items) (when items (lsp-stablecode--show items))))))))

(defun lsp-stablecode--automatic-p ()
  "Whether to suggest something unasked after this command."
  (and lsp-stablecode-automatic
       (lsp-stablecode--possible-p)
       (not (region-active-p))
       ;; Who takes something back wants to see what was there.
       (not (memq this-command '(undo undo-only undo-redo)))
       (or lsp-stablecode-beside-menus (not (lsp-stablecode--menu-open-p)))
       (not (seq-some #'funcall lsp-stablecode-inhibit-functions))))

(defun lsp-stablecode--after-command ()
  "Keep the suggestion in step with what was typed, or ask for another."
  (let* ((now (cons (buffer-chars-modified-tick) (point)))
         (edited (not (eql (car now) (car lsp-stablecode--seen))))
         (moved (not (equal now lsp-stablecode--seen))))
    (setq lsp-stablecode--seen now)
    (lsp-stablecode--refresh)
    (when (and moved (not lsp-stablecode--shown))
      (lsp-stablecode--cancel)
      (when (and edited (lsp-stablecode--automatic-p))
        ;; Idle, so that keys which wait already are taken first.
        (setq lsp-stablecode--timer
              (run-with-idle-timer lsp-stablecode-idle-delay nil
                                   #'lsp-stablecode--ask (current-buffer)))))))

(defun lsp-stablecode--before-change (start end)
  "Note whether the edit from START to END outdates the suggestion."
  (when-let* ((shown lsp-stablecode--shown))
    (unless (and (<= (lsp-stablecode--shown-start shown) start)
                 (<= end (overlay-end (lsp-stablecode--shown-overlay shown))))
      (setf (lsp-stablecode--shown-outdated shown) t))))

(defun lsp-stablecode--after-change (&rest _)
  "Look after the suggestion when something else than a command has edited."
  (when (and lsp-stablecode--shown (null this-command))
    (lsp-stablecode--refresh)))

(defun lsp-stablecode--begin-clone ()
  "Let this buffer, a clone, have no suggestion of the one it was cloned from."
  (remove-overlays (point-min) (point-max) 'lsp-stablecode t)
  (setq lsp-stablecode--shown nil
        lsp-stablecode--timer nil)
  (lsp-stablecode--hide))

(defvar lsp-stablecode--focused nil
  "The buffer that the server knows is before the user.")

(defun lsp-stablecode--focus-changed (window)
  "Note that the buffer of WINDOW came before the user, or went."
  (with-current-buffer (window-buffer window)
    (cond ((not lsp-stablecode-mode))
          ;; In the minibuffer the user may be about to name one of our commands.
          ((minibufferp (window-buffer (selected-window))))
          ((not (eq (current-buffer) (window-buffer (selected-window))))
           (lsp-stablecode--cancel)
           (lsp-stablecode--hide))
          ((not (eq lsp-stablecode--focused (current-buffer)))
           (setq lsp-stablecode--focused (current-buffer))
           (lsp-stablecode--notify
            "textDocument/didFocus"
            (list :textDocument (lsp--text-document-identifier)))))))

;;;; Commands for the suggestion

(defun lsp-stablecode--rest-or-error ()
  "Return what is missing of the suggestion."
  (or (lsp-stablecode--rest) (user-error "There is no suggestion here")))

(defun lsp-stablecode-accept ()
  "Insert the suggestion."
  (interactive "*")
  (let* ((rest (lsp-stablecode--rest-or-error))
         (item (lsp-stablecode--item))
         (end (lsp-stablecode--end (lsp-stablecode--choice)))
         (command (lsp-get item :command)))
    (lsp-stablecode--hide)
    (delete-region (point) end)
    (insert rest)
    ;; The server may be gone by now.
    (when (and command (lsp-stablecode--workspace))
      (lsp-stablecode--execute (lsp-get command :command)
                               (lsp-get command :arguments)))))

(defun lsp-stablecode--accept-part (length)
  "Insert the first LENGTH characters of the suggestion."
  (let* ((rest (lsp-stablecode--rest-or-error))
         (item (lsp-stablecode--item))
         (start (lsp-stablecode--shown-start lsp-stablecode--shown))
         (end (lsp-stablecode--end (lsp-stablecode--choice)))
         (right (buffer-substring-no-properties (point) end)))
    (if (>= length (length rest))
        (lsp-stablecode-accept)
      ;; What else would be doubled goes in the same step of undo.
      (delete-region (point)
                     (+ (point)
                        (seq-count (lambda (place) (< place length))
                                   (lsp-stablecode--places right rest))))
      (insert (substring rest 0 length))
      (lsp-stablecode--notify
       "textDocument/didPartiallyAcceptCompletion"
       (list :item item
             ;; In UTF-16's units.
             :acceptedLength
             (/ (length (encode-coding-string
                         (buffer-substring-no-properties start (point))
                         'utf-16le))
                2))))))

(defun lsp-stablecode-accept-word ()
  "Insert the suggestion up to the end of its next word.
Words are those of `forward-word'; none reaches beyond its line."
  (interactive "*")
  (let ((rest (lsp-stablecode--rest-or-error))
        (table (syntax-table))
        ;; Subword mode has one of its own.
        (boundaries find-word-boundary-function-table))
    (lsp-stablecode--accept-part
     (with-temp-buffer
       (set-syntax-table table)
       (setq-local find-word-boundary-function-table boundaries)
       (insert rest)
       (goto-char (point-min))
       (skip-chars-forward " \t\n")
       (let ((line-end (line-end-position)))
         (forward-word)
         (1- (min (point) line-end)))))))

(defun lsp-stablecode-accept-line ()
  "Insert the suggestion up to the end of its next line."
  (interactive "*")
  (let ((rest (lsp-stablecode--rest-or-error)))
    (lsp-stablecode--accept-part
     (string-match "$" rest (string-match "[^\n]\\|\\'" rest)))))

(defun lsp-stablecode-dismiss ()
  "Take the suggestion away."
  (interactive)
  (lsp-stablecode--cancel)
  (lsp-stablecode--hide))

(defun lsp-stablecode-suggest ()
  "Ask for a suggestion here, by hand: for several, whatever the settings."
  (interactive "*")
  (unless (lsp-stablecode--workspace)
    (user-error "No lsp-stablecode runs in this buffer; start it with M-x lsp"))
  (unless (lsp-stablecode--possible-p)
    (user-error "No suggestions in keyboard macros and Overwrite mode"))
  (lsp-stablecode--request
   t (lambda (items)
       (if items
           (lsp-stablecode--show items)
         (lsp-stablecode--hide)
         (message "No suggestion here; %s says why"
                  (substitute-command-keys "\\[lsp-stablecode-explain]"))))))

(defun lsp-stablecode-next (&optional count)
  "Show another suggestion: the COUNTth after this one.
Ask the server for more where there is only one."
  (interactive "p")
  (let ((rest (lsp-stablecode--rest-or-error))
        (count (or count 1)))
    (if (cdr (lsp-stablecode--shown-choices lsp-stablecode--shown))
        (lsp-stablecode--cycle count)
      (lsp-stablecode--request
       t (lambda (items)
           (when items
             (lsp-stablecode--show items)
             ;; The first is what was shown already, unless the server has
             ;; had a better idea.
             (if (cdr items)
                 (when (equal (lsp-stablecode--rest) rest)
                   (lsp-stablecode--cycle count))
               (message "There is no other suggestion"))))))))

(defun lsp-stablecode-previous (&optional count)
  "Show another suggestion: the COUNTth before this one."
  (interactive "p")
  (lsp-stablecode-next (- (or count 1))))

(defun lsp-stablecode--cycle (count)
  "Show the COUNTth suggestion after this one, of those that fit."
  (let* ((choices (seq-filter
                   #'lsp-stablecode--rest-of
                   (lsp-stablecode--shown-choices lsp-stablecode--shown)))
         (index (mod (+ count
                        (seq-position choices (lsp-stablecode--choice) #'eq))
                     (length choices))))
    (setf (lsp-stablecode--shown-choices lsp-stablecode--shown) choices
          (lsp-stablecode--shown-index lsp-stablecode--shown) index)
    (lsp-stablecode--refresh)
    (let ((message-log-max nil))
      (message "Suggestion %d of %d" (1+ index) (length choices)))))

;;;; Commands for the server

(defun lsp-stablecode-toggle ()
  "Switch suggestions off, or on again, in all buffers.
For one buffer there is `lsp-stablecode-mode'."
  (interactive)
  (lsp-stablecode--execute
   "lsp-stablecode.toggle" []
   (lambda (on) (lsp-stablecode--toggled (if on "on" "off")))))

(defun lsp-stablecode-toggle-language ()
  "Switch suggestions off, or on again, for the language of this buffer."
  (interactive)
  (let ((language (lsp-buffer-language)))
    (lsp-stablecode--execute
     "lsp-stablecode.toggle" (vector language)
     (lambda (on)
       (lsp-stablecode--toggled
        (format "%s for %s" (if on "on" "off") language))))))

(defun lsp-stablecode-snooze (minutes)
  "Suggest nothing for MINUTES, by default 15; 0 ends that."
  (interactive (list (if current-prefix-arg
                         (prefix-numeric-value current-prefix-arg)
                       15)))
  (lsp-stablecode--execute
   "lsp-stablecode.snooze" (vector minutes)
   (lambda (seconds)
     (lsp-stablecode--toggled
      (if (zerop seconds) "on" (format "off for %d minutes" minutes))))))

(defun lsp-stablecode--toggled (state)
  "Take away what is shown and say that suggestions are in STATE now."
  (dolist (buffer (buffer-list))
    (with-current-buffer buffer
      (when lsp-stablecode-mode (lsp-stablecode--hide))))
  (message "Suggestions are %s" state))

(defun lsp-stablecode-set (setting value)
  "Give the server's SETTING, such as :maxNewTokens, a VALUE, for this session."
  (customize-set-variable
   'lsp-stablecode-settings
   (plist-put (copy-sequence (default-value 'lsp-stablecode-settings))
              setting value)))

(defun lsp-stablecode--run (&rest arguments)
  "Return what the server's program prints when given other ARGUMENTS."
  (with-temp-buffer
    (let ((status (apply #'process-file (car lsp-stablecode-command)
                         nil '(t nil) nil
                         (append (lsp-stablecode--program-arguments)
                                 arguments))))
      (unless (equal status 0)
        (user-error "%s ended with %s" (car lsp-stablecode-command) status))
      (buffer-string))))

(defun lsp-stablecode--program-arguments ()
  "Return the arguments of `lsp-stablecode-command' that come before \"serve\"."
  (seq-take-while (lambda (argument) (not (equal argument "serve")))
                  (cdr lsp-stablecode-command)))

(defun lsp-stablecode-select-model (model)
  "Let the server use MODEL from now on, in this session.
It is a name, a directory, a GGUF file or a Hugging Face repository."
  (interactive
   (let* ((models (json-parse-string
                   (lsp-stablecode--run "models" "list" "--json")
                   :object-type 'alist :false-object nil))
          (here (seq-filter (lambda (model) (alist-get 'here model)) models))
          (names (mapcar (lambda (model) (alist-get 'name model)) models))
          (completion-extra-properties
           (list :annotation-function
                 (lambda (name)
                   (and (seq-some (lambda (model)
                                    (equal (alist-get 'name model) name))
                                  here)
                        "  (here)")))))
     (list (completing-read "Model: " (cons "auto" names)))))
  (lsp-stablecode-set :model model))

(defun lsp-stablecode-status ()
  "Say how the server is."
  (interactive)
  (lsp-stablecode--execute
   "lsp-stablecode.status" []
   (lambda (status)
     (let* ((engine (lsp-get status :engine))
            (message (lsp-get status :message)))
       (message "lsp-stablecode: %s%s%s; %d suggestions accepted"
                (if (lsp-get status :enabled) "" "paused, ")
                (if engine
                    (format "%s on %s in %s" (lsp-get engine :model)
                            (lsp-get engine :device) (lsp-get engine :dtype))
                  (lsp-get status :state))
                (if (member message '(nil "")) "" (concat ": " message))
                (lsp-get status :accepted))))))

(defun lsp-stablecode-explain ()
  "Show how the last suggestion of this buffer came about, or why none did."
  (interactive)
  (lsp-stablecode--execute
   "lsp-stablecode.explain"
   (if (lsp-stablecode--workspace) (vector (lsp--buffer-uri)) [])
   (lambda (explanation)
     (with-current-buffer (get-buffer-create "*lsp-stablecode explain*")
       (let ((inhibit-read-only t))
         (erase-buffer)
         (insert (if explanation
                     (lsp--json-serialize explanation)
                   "\"Nothing was asked for yet.\""))
         (json-pretty-print-buffer))
       (js-mode)
       (view-mode)
       (goto-char (point-min))
       (display-buffer (current-buffer))))))

(defun lsp-stablecode-restart ()
  "Start this buffer's server anew."
  (interactive)
  (lsp-workspace-restart (lsp-stablecode--workspace-or-error)))

(defun lsp-stablecode-log ()
  "Show what the server wrote to its standard error."
  (interactive)
  (let ((process (lsp--workspace-proc (lsp-stablecode--workspace-or-error))))
    (pop-to-buffer (format "*%s::stderr*" (lsp-process-name process)))))

(defconst lsp-stablecode--model-options
  '((:model . "--model")
    (:device . "--device")
    (:dtype . "--dtype")
    (:cacheDtype . "--cache-dtype")
    (:threads . "--threads")
    (:contextTokens . "--context-tokens")
    (:backend . "--backend")
    (:endpoint . "--endpoint")
    (:remoteModel . "--remote-model")
    (:apiKeyFile . "--api-key-file"))
  "Settings that say which model is loaded, and options that say the same.")

(defun lsp-stablecode--model-arguments ()
  "Return the arguments that name the model in use to the server's program.
As for the server, settings count more than what it is started with."
  (let (chosen)
    (cl-loop for (argument next) on (cdr (member "serve" lsp-stablecode-command))
             for option = (car (split-string argument "="))
             when (rassoc option lsp-stablecode--model-options)
             do (push (cons option
                            (if (equal option argument)
                                next
                              (substring argument (1+ (length option)))))
                      chosen))
    (cl-loop for (key value) on (default-value 'lsp-stablecode-settings) by #'cddr
             for option = (alist-get key lsp-stablecode--model-options)
             when option do (push (cons option (format "%s" value)) chosen))
    (cl-loop for (option . value)
             in (seq-uniq chosen (lambda (one other)
                                   (equal (car one) (car other))))
             unless (equal value "auto") append (list option value))))

(defun lsp-stablecode-doctor ()
  "Check the server's installation and show what was found."
  (interactive)
  (compilation-start
   (mapconcat #'shell-quote-argument
              `(,(car lsp-stablecode-command)
                ,@(lsp-stablecode--program-arguments)
                "doctor" ,@(lsp-stablecode--model-arguments))
              " ")
   nil (lambda (_) "*lsp-stablecode doctor*")))

;;;; Keys, menu and mode line

(defvar lsp-stablecode-suggestion-map
  (let ((map (make-sparse-keymap)))
    (define-key map (kbd "TAB") #'lsp-stablecode-accept)
    (define-key map (kbd "<tab>") #'lsp-stablecode-accept)
    (define-key map (kbd "M-f") #'lsp-stablecode-accept-word)
    (define-key map (kbd "M-e") #'lsp-stablecode-accept-line)
    (define-key map (kbd "M-n") #'lsp-stablecode-next)
    (define-key map (kbd "M-p") #'lsp-stablecode-previous)
    (define-key map (kbd "C-g") #'lsp-stablecode-dismiss)
    map)
  "Keys while a suggestion is shown.")

(defvar lsp-stablecode-command-map
  (let ((map (make-sparse-keymap)))
    (define-key map "+" #'lsp-stablecode-suggest)
    (define-key map "b" #'lsp-stablecode-mode)
    (define-key map "d" #'lsp-stablecode-doctor)
    (define-key map "e" #'lsp-stablecode-explain)
    (define-key map "g" #'lsp-stablecode-log)
    (define-key map "l" #'lsp-stablecode-toggle-language)
    (define-key map "m" #'lsp-stablecode-select-model)
    (define-key map "r" #'lsp-stablecode-restart)
    (define-key map "s" #'lsp-stablecode-status)
    (define-key map "t" #'lsp-stablecode-toggle)
    (define-key map "z" #'lsp-stablecode-snooze)
    map)
  "Keys after the prefix.")

(defvar lsp-stablecode-mode-map
  (let ((map (make-sparse-keymap)))
    (define-key map (kbd "C-c +") lsp-stablecode-command-map)
    map)
  "Keys of `lsp-stablecode-mode'.")

(easy-menu-define lsp-stablecode-menu lsp-stablecode-mode-map
  "Menu of `lsp-stablecode-mode'."
  '("Stablecode"
    ["Suggest" lsp-stablecode-suggest]
    "---"
    ["On or off everywhere" lsp-stablecode-toggle]
    ["On or off for this language" lsp-stablecode-toggle-language]
    ["On or off in this buffer" lsp-stablecode-mode]
    ["Pause for 15 minutes" lsp-stablecode-snooze]
    "---"
    ["Explain the last suggestion" lsp-stablecode-explain]
    ["Status" lsp-stablecode-status]
    ["Another model..." lsp-stablecode-select-model]
    ["Options..." (customize-group 'lsp-stablecode)]
    "---"
    ["Restart the server" lsp-stablecode-restart]
    ["The server's log" lsp-stablecode-log]
    ["Doctor" lsp-stablecode-doctor]))

(defvar lsp-stablecode--key-maps
  `((lsp-stablecode--keys-first . ,lsp-stablecode-suggestion-map))
  "What `emulation-mode-map-alists' needs: other minor modes have a TAB, too.")

(defvar lsp-stablecode--lighter-map
  (let ((map (make-sparse-keymap)))
    (define-key map [mode-line down-mouse-1] lsp-stablecode-menu)
    map)
  "Keys of the mode line's lighter.")

(defun lsp-stablecode--lighter ()
  "Return what to show in the mode line."
  (let* ((workspace (lsp-stablecode--workspace))
         (state (and workspace (gethash workspace lsp-stablecode--states)))
         (text (pcase (plist-get state :kind)
                 ((guard (null workspace)) "[none]")
                 ((guard (plist-get state :loading))
                  (format "[%s]" (plist-get state :loading)))
                 ("Error" "[error]")
                 ("Inactive" (if (plist-get state :rests) "" "[inactive]"))
                 ("Warning" "[!]")
                 ((guard (plist-get state :busy)) "[...]")
                 (_ ""))))
    `(" " (:propertize ,(concat "Stablecode" (string-replace "%" "%%" text))
                       help-echo ,(plist-get state :message)
                       mouse-face mode-line-highlight
                       local-map ,lsp-stablecode--lighter-map))))

;;;###autoload
(define-minor-mode lsp-stablecode-mode
  "Show what a local model would type next, as grey text at point.
It switches itself on where lsp-mode runs the server, and takes the
place of `lsp-inline-completion-mode' there.

\\{lsp-stablecode-suggestion-map}"
  :lighter (:eval (lsp-stablecode--lighter))
  :keymap lsp-stablecode-mode-map
  (pcase-dolist
      (`(,hook . ,function)
       '((post-command-hook . lsp-stablecode--after-command)
         (before-change-functions . lsp-stablecode--before-change)
         (after-change-functions . lsp-stablecode--after-change)
         (window-selection-change-functions . lsp-stablecode--focus-changed)
         (window-buffer-change-functions . lsp-stablecode--focus-changed)
         (clone-indirect-buffer-hook . lsp-stablecode--begin-clone)
         (completion-in-region-mode-hook . lsp-stablecode--refresh)
         (company-completion-started-hook . lsp-stablecode--refresh)
         (company-after-completion-hook . lsp-stablecode--refresh)))
    (if lsp-stablecode-mode
        (add-hook hook function nil t)
      (remove-hook hook function t)))
  (if (not lsp-stablecode-mode)
      (lsp-stablecode-dismiss)
    (setq lsp-stablecode--seen (cons (buffer-chars-modified-tick) (point)))
    (add-to-list 'emulation-mode-map-alists 'lsp-stablecode--key-maps)
    (setf (alist-get 'lsp-stablecode--keys minor-mode-map-alist)
          lsp-stablecode-suggestion-map)
    (lsp-stablecode--teach-evil)
    (setq-local lsp-inline-completion-enable nil)
    (when (bound-and-true-p lsp-inline-completion-mode)
      (lsp-inline-completion-mode -1))))

(defun lsp-stablecode--teach-evil ()
  "Have Evil repeat what our commands insert, not their keys."
  (when (fboundp 'evil-declare-change-repeat)
    (mapc #'evil-declare-change-repeat
          '(lsp-stablecode-accept
            lsp-stablecode-accept-word
            lsp-stablecode-accept-line))
    (mapc #'evil-declare-ignore-repeat
          '(lsp-stablecode-dismiss
            lsp-stablecode-next
            lsp-stablecode-previous
            lsp-stablecode-suggest))))

(defun lsp-stablecode--start ()
  "Switch the mode on in a buffer that the server was told of.
Not where the user has switched it off."
  (add-hook 'before-change-functions #'lsp-stablecode--note-end-column nil t)
  (unless (local-variable-p 'lsp-stablecode-mode)
    (lsp-stablecode-mode)))

(provide 'lsp-stablecode)
;;; lsp-stablecode.el ends here
