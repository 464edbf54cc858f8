-- Redis runs Lua 5.1 with these besides. Scripts are checked as they are sent, with what they include: see `make lint`.
std = "lua51"
read_globals = {"redis", "cjson", "cmsgpack", "struct", "bit", "KEYS", "ARGV"}
max_line_length = 132
