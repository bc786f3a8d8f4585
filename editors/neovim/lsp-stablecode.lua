-- lsp-stablecode for Neovim 0.12; goes into ~/.config/nvim/lsp/.
-- Switch it on in init.lua with: vim.lsp.enable('lsp-stablecode')

---@type vim.lsp.Config
return {
  cmd = { 'lsp-stablecode', 'serve' },
  -- No `filetypes`: every file. Silence some with the setting `disabledLanguages`.
  root_markers = { '.git' },
  settings = {
    ['lsp-stablecode'] = vim.empty_dict(),
  },
  on_attach = function(_, bufnr)
    -- 0.11 has no inline completion; the server then answers <C-x><C-o>.
    if vim.lsp.inline_completion then
      vim.lsp.inline_completion.enable(true, { bufnr = bufnr })
    end
  end,
}
