-- What |vim.lsp.enable()| starts. Your own |vim.lsp.config()| of the same name goes
-- before it; the options of the plugin are read each time this is resolved.

return require('lsp-stablecode.server').config()
