%% @doc The native library. Use {@link zbackup}, which also takes strings where this wants binaries.
%%
%% Where the library cannot be loaded, this module still can: every function then answers with an error
%% that says what to do, instead of not being there.
-module(zbackup_nif).

-export([backup/1, verify/3, restore/3, settle/1, list/1, due/1, status/1, set_status/2]).
-export([push/2, pull/2, list_offsite/1, relay/2]).
-export([encrypt/1, decrypt/1, prune_revisions/1, diff/2, cancel/1, state/1]).

-on_load(load/0).
-nifs([backup/1, verify/3, restore/3, settle/1, list/1, due/1, status/1, set_status/2]).
-nifs([push/2, pull/2, list_offsite/1, relay/2]).
-nifs([encrypt/1, decrypt/1, prune_revisions/1, diff/2, cancel/1, state/1]).

-spec backup(map()) -> {ok, zbackup:job()} | zbackup:error().
backup(_Request) -> not_loaded().

-spec verify(map(), [binary()], map()) -> {ok, zbackup:job()} | zbackup:error().
verify(_Request, _Names, _Options) -> not_loaded().

-spec restore(map(), binary(), map()) -> {ok, zbackup:job()} | zbackup:error().
restore(_Request, _Name, _Options) -> not_loaded().

-spec settle(map()) -> {ok, zbackup:job()} | zbackup:error().
settle(_Request) -> not_loaded().

-spec list(map()) -> {ok, zbackup:listing()} | zbackup:error().
list(_Request) -> not_loaded().

-spec push(map(), map()) -> {ok, zbackup:job()} | zbackup:error().
push(_Request, _Options) -> not_loaded().

-spec pull(map(), map()) -> {ok, zbackup:job()} | zbackup:error().
pull(_Request, _Options) -> not_loaded().

-spec list_offsite(map()) -> {ok, zbackup:job()} | zbackup:error().
list_offsite(_Request) -> not_loaded().

-spec relay(map(), map()) -> {ok, zbackup:job()} | zbackup:error().
relay(_Request, _Options) -> not_loaded().

-spec due(map()) -> {ok, zbackup:nightly()} | zbackup:error().
due(_Request) -> not_loaded().

-spec status(map()) -> {ok, zbackup:status()} | zbackup:error().
status(_Request) -> not_loaded().

-spec set_status(map(), map()) -> ok | zbackup:error().
set_status(_Request, _Status) -> not_loaded().

-spec encrypt(map()) -> {ok, zbackup:job()} | zbackup:error().
encrypt(_Request) -> not_loaded().

-spec decrypt(map()) -> {ok, zbackup:job()} | zbackup:error().
decrypt(_Request) -> not_loaded().

-spec prune_revisions(map()) -> {ok, zbackup:job()} | zbackup:error().
prune_revisions(_Request) -> not_loaded().

-spec diff(binary(), binary()) -> {ok, [zbackup:change()]} | zbackup:error().
diff(_Old, _New) -> not_loaded().

-spec cancel(zbackup:job()) -> ok | zbackup:error().
cancel(_Job) -> not_loaded().

-spec state(zbackup:job()) -> {ok, running | ended} | zbackup:error().
state(_Job) -> not_loaded().

%% The answer comes out of a box so that dialyzer does not take it for the only one there is.
-spec not_loaded() -> term().
not_loaded() ->
    persistent_term:get(?MODULE).

load() ->
    Tried = [{Path, erlang:load_nif(Path, 0)} || Path <- paths(), filelib:is_file(Path ++ ".so")],
    case {lists:keymember(ok, 2, Tried), Tried} of
        {true, _} ->
            ok;
        {false, [{Path, {error, {Reason, Text}}} | _]} when Reason =:= reload; Reason =:= upgrade ->
            %% Another version of this module has it loaded already. The code server goes on with that one.
            {error, {Reason, Path, Text}};
        {false, [{Path, {error, {_, Text}}} | _]} ->
            problem(["the native library ", Path, ".so cannot be loaded: ", Text,
                     ". Build it on this machine: scripts/build-nif"]);
        {false, []} ->
            problem(["the native library zbackup_nif.so is missing in ", lists:join(" and in ",
                     lists:usort([filename:dirname(Path) || Path <- paths()])),
                     ". Run \"rebar3 compile\" or scripts/build-nif of mod_backup: it needs Rust,"
                     " https://rustup.rs"])
    end.

problem(Words) ->
    persistent_term:put(?MODULE, {error, internal, unicode:characters_to_binary(Words)}).

%% Where the library may be, without its extension: in the priv folder of the application, or in the
%% one beside the folder of this module, for a bare `erl -pa ebin'.
paths() ->
    App = case code:priv_dir(zotonic_mod_backup) of
        {error, bad_name} -> [];
        Priv -> [Priv]
    end,
    Beam = case code:which(?MODULE) of
        File when is_list(File), File =/= [] ->
            [filename:join([filename:dirname(filename:dirname(filename:absname(File))), "priv"])];
        _ ->
            []
    end,
    [filename:join(Dir, "zbackup_nif") || Dir <- App ++ (Beam -- App)].
