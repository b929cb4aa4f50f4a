%% @doc A node with one site in the stand-in for Zotonic, for tests of more than one node. It does what
%% Zotonic's manager of sites does: it starts a site, and starts it again when the module asks for that. The
%% environment is that of the site's configuration file, but for a file `priv/BACKUP'; where neither says one it
%% stays what it was as long as the node runs.
-module(site_node).

-export([start/1, stop/1, call/4]).
%% On the node.
-export([run/1, restarts/0, config/2, context/0]).

%% @doc Starts a node with a site.
-spec start(map()) -> peer:server_ref().
start(Site) ->
    Paths = lists:append([["-pa", Path] || Path <- code:get_path(), filelib:is_dir(Path)]),
    {ok, Node, _} = peer:start_link(#{connection => standard_io, args => Paths}),
    ok = call(Node, ?MODULE, run, [Site]),
    Node.

%% @doc The machine dies.
-spec stop(peer:server_ref()) -> ok.
stop(Node) ->
    peer:stop(Node).

-spec call(peer:server_ref(), module(), atom(), [term()]) -> term().
call(Node, Module, Function, Arguments) ->
    peer:call(Node, Module, Function, Arguments, 60000).

%% @doc Starts the site on this node.
-spec run(map()) -> ok.
run(#{dir := Dir} = Site) ->
    Caller = self(),
    Manager = spawn(fun() ->
        register(?MODULE, self()),
        host:listen(),
        Media = filename:join(Dir, "archive"),
        ok = filelib:ensure_dir(filename:join(Media, "x")),
        host:set(site_dir, filename:join(Dir, "site")),
        host:set(config_files, [filename:join(Dir, "site/priv/zotonic_site.config")]),
        host:set(security_dir, {ok, filename:join(Dir, "site/security")}),
        host:set(database, maps:get(database, Site)),
        maps:foreach(fun backup_host:put_config/2, maps:get(config, Site)),
        up(Dir),
        Caller ! {self(), up},
        manage(Dir, 0)
    end),
    receive {Manager, up} -> ok after 30000 -> error(never_up) end.

up(Dir) ->
    Priv = filename:join(Dir, "site/priv"),
    {ok, Text} = file:read_file(filename:join(Priv, "zotonic_site.config")),
    Named = [Name || Name <- [backup, production],
                     string:find(Text, io_lib:format("{environment, ~s}", [Name])) =/= nomatch],
    Environment = case {filelib:is_regular(filename:join(Priv, "BACKUP")), Named} of
        {true, _} -> backup;
        {false, [Name]} -> Name;
        {false, []} -> host:get(environment, production)
    end,
    host:set(environment, Environment),
    _ = backup_host:server(context(Dir)),
    host:set(dir, Dir).

manage(Dir, Restarts) ->
    receive
        {host, {restart, testsite}} -> again(Dir), manage(Dir, Restarts + 1);
        {From, restarts} -> From ! {self(), Restarts}, manage(Dir, Restarts);
        _ -> manage(Dir, Restarts)
    end.

again(Dir) ->
    ok = gen_server:stop('mod_backup$testsite'),
    up(Dir).

%% @doc How often the site was started again.
-spec restarts() -> non_neg_integer().
restarts() -> ask(restarts).

ask(What) ->
    Manager = whereis(?MODULE),
    Manager ! {self(), What},
    receive {Manager, Answer} -> Answer after 30000 -> error(no_answer) end.

-spec config(atom(), term()) -> ok.
config(Key, Value) ->
    backup_host:put_config(Key, Value),
    backup_copier:changed(context()).

-spec context() -> z:context().
context() ->
    context(host:get(dir, undefined)).

context(Dir) ->
    host:context(testsite, Dir).
