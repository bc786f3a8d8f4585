--- `:checkhealth lsp-stablecode`

local keys = require('lsp-stablecode.keys')
local options = require('lsp-stablecode.options')
local server = require('lsp-stablecode.server')
local silence = require('lsp-stablecode.silence')
local status = require('lsp-stablecode.status')

local health = vim.health

local M = {}

--- The buffer that was current before the report's own.
---@return integer
local function buffer_before()
  local bufnr = vim.fn.bufnr('#')
  return bufnr > 0 and bufnr or vim.api.nvim_get_current_buf()
end

local function check_neovim()
  health.start('Neovim')
  local version = tostring(vim.version())
  if vim.fn.has('nvim-0.11') == 0 then
    health.error(version .. ' is too old', 'Neovim 0.11 or later is needed')
    return
  end
  health.ok(version)
  local wanted = options.get().ghost_text
  if require('lsp-stablecode.suggestions').is_builtin() then
    health.ok('ghost text is drawn by vim.lsp.inline_completion')
  elseif wanted == 'builtin' then
    health.warn(
      "ghost text is drawn by this plugin, although 'builtin' was chosen",
      'This Neovim has no vim.lsp.inline_completion, or not as it is known here'
    )
  else
    health.ok('ghost text is drawn by this plugin')
  end
end

local function check_server()
  health.start('Server')
  local command = server.command()
  if not command then
    local chosen = options.get().cmd
    health.error(
      chosen and ('`%s` cannot be run'):format(chosen[1]) or 'the server was not found',
      {
        'Install it, and put `lsp-stablecode` on the PATH of Neovim',
        "or name it: vim.g.lsp_stablecode = { cmd = { '/path/to/lsp-stablecode', 'serve' } }",
        'then :LspStablecode restart',
      }
    )
    return
  end
  local asked = server.subcommand('--version') --[[@as string[] ]]
  local is_run, done = pcall(function()
    return vim.system(asked, { text = true }):wait(20000)
  end)
  if is_run and done.code == 0 then
    health.ok(('%s: %s'):format(vim.trim(done.stdout), table.concat(command, ' ')))
  else
    local said = is_run and vim.trim(done.stderr or '') or tostring(done)
    health.error(('`%s` failed: %s'):format(table.concat(asked, ' '), said))
  end
  if not vim.lsp.is_enabled(server.NAME) then
    health.warn('it is not started by itself', "vim.lsp.enable('lsp-stablecode')")
  end
end

---@param client vim.lsp.Client
---@param bufnr integer
local function check_model(client, bufnr)
  local command = { command = server.NAME .. '.status' }
  local answer, problem = client:request_sync('workspace/executeCommand', command, 5000, bufnr)
  local result = answer and answer.result
  if type(result) ~= 'table' then
    health.error('the server does not answer: ' .. tostring(problem), 'See :LspStablecode log')
  elseif result.state == 'ready' then
    health.ok(('the model is ready: %s on %s'):format(result.engine.model, result.engine.device))
  elseif result.state == 'failed' then
    health.error('the model is not there: ' .. result.message, 'See :LspStablecode doctor')
  elseif result.state == 'resting' then
    health.ok('the model rests until it is asked')
  else
    health.warn('the model is ' .. result.state)
  end
  local told = status.of_buffer(bufnr)
  if told and told.message ~= '' then
    health.info('it says: ' .. told.message)
  end
end

---@param bufnr integer
local function check_buffer(bufnr)
  local name = vim.fn.fnamemodify(vim.api.nvim_buf_get_name(bufnr), ':~:.')
  health.start(('Buffer %d (%s)'):format(bufnr, name ~= '' and name or 'no name'))
  local client = vim.lsp.get_clients({ name = server.NAME, bufnr = bufnr })[1]
  if not client then
    local advice = 'It is attached to files that have a file type; :set filetype?'
    health.warn('no server is attached', { advice, 'See also :checkhealth vim.lsp' })
    return
  end
  health.ok(('the server is attached (client %d, %s)'):format(client.id, client.offset_encoding))
  check_model(client, bufnr)
  local reason = silence.in_general(bufnr)
  if reason then
    health.warn('nothing is suggested here: ' .. reason)
  end
  for _, other in ipairs(vim.lsp.get_clients({ bufnr = bufnr })) do
    if
      other.id ~= client.id
      and vim.tbl_get(other, 'server_capabilities', 'inlineCompletionProvider')
    then
      health.warn(other.name .. ' has inline completion too: two ghost texts may be shown')
    end
  end
  local conflicts = keys.conflicts(bufnr)
  for key, other in vim.spairs(conflicts) do
    health.warn(
      ('%s has another mapping in this buffer, which comes first: %s'):format(key, other),
      'See :help lsp-stablecode-keys for keys of your own'
    )
  end
  if next(conflicts) == nil then
    health.ok('all keys are mapped')
  end
end

function M.check()
  check_neovim()
  check_server()
  check_buffer(buffer_before())
end

return M
