;;; emacs_lint.el --- Checks a package for the tests -*- lexical-binding: t; -*-

;; emacs --batch -l emacs_lint.el FILE: prints what is wrong with it, and nothing
;; where nothing is.

(require 'checkdoc)
(require 'package)
(require 'package-lint)

;; package-lint asks the archives what can be installed, and there is no network.
(dolist (one '((lsp-mode 10 0 0)))
  (push (list (car one) (package-desc-create :name (car one) :version (cdr one)
                                             :summary "" :kind 'tar))
        package-archive-contents))

(let ((file (pop command-line-args-left)))
  (let ((checkdoc-create-error-function
         (lambda (text start &rest _)
           (princ (format "%d: %s\n" (line-number-at-pos start) text))
           nil)))
    (with-current-buffer (find-file-noselect file)
      (checkdoc-current-buffer t)
      (pcase-dolist (`(,line ,_ ,_ ,text) (package-lint-buffer))
        (princ (format "%d: %s\n" line text))))))
