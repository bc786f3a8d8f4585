-- Commands, <Plug> mappings, and the start of the server with the first file.
-- Nothing of the plugin is loaded here that a start without a file does not need.

if vim.g.loaded_lsp_stablecode or vim.g.lsp_stablecode == false then
  return
end
vim.g.loaded_lsp_stablecode = true

if vim.fn.has('nvim-0.11') == 0 then
  vim.notify('lsp-stablecode needs Neovim 0.11 or later', vim.log.levels.WARN)
  return
end

vim.api.nvim_create_user_command('LspStablecode', function(arguments)
  require('lsp-stablecode.commands').run(arguments.fargs)
end, {
  nargs = '+',
  desc = 'Ask lsp-stablecode',
  complete = function(_, line)
    return require('lsp-stablecode.commands').complete(line)
  end,
})

for _, action in ipairs({
  'accept',
  'accept_word',
  'accept_line',
  'next',
  'previous',
  'dismiss',
  'trigger',
  'toggle',
}) do
  local lhs = ('<Plug>(lsp-stablecode-%s)'):format((action:gsub('_', '-')))
  vim.keymap.set(action == 'toggle' and { 'n', 'i' } or 'i', lhs, function()
    require('lsp-stablecode')[action]()
  end, { desc = 'lsp-stablecode: ' .. action:gsub('_', ' ') })
end

if require('lsp-stablecode.options').get().autostart then
  vim.lsp.enable('lsp-stablecode')
end
