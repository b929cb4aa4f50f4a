%% @doc Copies to and from a file store that only Zotonic speaks to (FTP, WebDAV): files are carried one by one, by
%% `#filestore_request{}'. What is carried, and whether what came is what it should be, is decided by {@link zbackup}.
-module(backup_filestore).

-export([push/2, pull/3]).

-include_lib("zotonic_core/include/zotonic.hrl").
-include_lib("zotonic_core/include/zotonic_file.hrl").

-define(STORE, <<"the file store">>).
-define(LIST, <<"backup.json">>).
%% The longest list, and the longest file of which the list does not say how long it is, in bytes.
-define(LONGEST_LIST, 2 * 1024 * 1024).
-define(LONGEST_FILE, 64 * 1024 * 1024 * 1024).
%% How often it is looked how long a file has become, in milliseconds.
-define(LOOK, 200).

%% @doc Uploads the backups that are not there yet, newest first.
-spec push(pid(), z:context()) -> {ok, zbackup:pushed()} | zbackup:error().
push(Server, Context) ->
    in_relay(Context, fun(Relay) ->
        case fetch_list(Relay, Context) of
            ok ->
                case step(offer, #{}, Relay, Context) of
                    {ok, Plan} -> offered(Plan, Relay, Server, Context);
                    {error, _, _} = Error -> Error
                end;
            {error, _, _} = Error ->
                Error
        end
    end).

offered(#{loads := Loads, already := Already, problems := Problems, aside := Aside}, Relay, Server, Context) ->
    Pushed = #{
        store => ?STORE, uploaded => [], already => Already, removed => [], problems => Problems, warnings => []
    },
    case keep_aside(Aside, Relay, Context) of
        ok ->
            Warned = case Aside of
                undefined -> Pushed;
                _ -> Pushed#{warnings => [<<"backup.json in the file store was damaged; it is kept there as ",
                                            Aside/binary, " and a new list was begun">>]}
            end,
            send(Loads, total(Loads), 0, Warned, Relay, Server, Context);
        {error, _, _} = Error ->
            Error
    end.

%% What is no list is not lost: it may tell somebody something.
keep_aside(undefined, _Relay, _Context) ->
    ok;
keep_aside(Aside, Relay, Context) ->
    Path = filename:join(Relay, ?LIST),
    case upload(Aside, Path, Context) of
        ok -> _ = file:delete(Path), ok;
        {error, _, _} = Error -> Error
    end.

send([], _Total, _Done, #{uploaded := Uploaded} = Pushed, _Relay, _Server, _Context) ->
    {ok, Pushed#{uploaded := lists:reverse(Uploaded)}};
send([#{files := Files} = Load | Loads], Total, Done, Pushed, Relay, Server, Context) ->
    case send_files(Files, Total, Done, Server, Context) of
        {ok, Now} ->
            case publish(Load, Now - Done, Pushed, Relay, Context) of
                {error, _, _} = Error -> Error;
                Published -> send(Loads, Total, Now, Published, Relay, Server, Context)
            end;
        {error, _, _} = Error ->
            Error
    end.

send_files([], _Total, Done, _Server, _Context) ->
    {ok, Done};
send_files([#{file := File} = Part | Files], Total, Done, Server, Context) ->
    tell(upload, Done, Total, Server),
    case upload(File, filename:join(backup_site:dir(Context), File), Context) of
        ok -> send_files(Files, Total, Done + size_of(Part), Server, Context);
        {error, _, _} = Error -> Error
    end.

%% All files of a backup are there: now it can be in the list. Another may have written that meanwhile.
publish(#{name := Name, timestamp := Timestamp} = Load, Bytes, Pushed, Relay, Context) ->
    #{uploaded := Uploaded, removed := Removed, problems := Problems} = Pushed,
    Backup = maps:with([name, timestamp], Load),
    case fetch_list(Relay, Context) of
        ok ->
            case step(publish, Backup, Relay, Context) of
                {ok, #{removed := Old}} ->
                    Done = [
                        fun() -> upload(?LIST, filename:join(Relay, ?LIST), Context) end,
                        fun() -> delete(Old, Context) end,
                        fun() -> step(mark, Backup, Relay, Context) end
                    ],
                    case all(Done) of
                        ok ->
                            Made = #{name => Name, timestamp => Timestamp, bytes => Bytes},
                            Pushed#{uploaded := [Made | Uploaded], removed := Removed ++ Old};
                        {error, _, _} = Error ->
                            Error
                    end;
                {error, exists, Reason} ->
                    Pushed#{problems := Problems ++ [#{name => Name, kind => exists, reason => Reason}]};
                {error, _, _} = Error ->
                    Error
            end;
        {error, _, _} = Error ->
            Error
    end.

all([]) ->
    ok;
all([Fun | Funs]) ->
    case Fun() of
        {error, _, _} = Error -> Error;
        _ -> all(Funs)
    end.

%% @doc Downloads what is new or missing, newest first. A backup is in the folder when all of it is, and is what
%% the list says.
-spec pull(#{require_encrypted := boolean()}, pid(), z:context()) -> {ok, zbackup:pulled()} | zbackup:error().
pull(Options, Server, Context) ->
    in_relay(Context, fun(Relay) ->
        case fetch_list(Relay, Context) of
            ok ->
                case step(wanted, Options, Relay, Context) of
                    {ok, #{loads := Loads, already := Already, problems := Problems, room := Room}} ->
                        Pulled = #{
                            store => ?STORE, pulled => [], already => Already, problems => Problems,
                            warnings => [], newest => undefined
                        },
                        %% An atom is more than any number.
                        Longest = min(?LONGEST_FILE, Room),
                        fetch(Loads, total(Loads), 0, Pulled, Options#{longest => Longest}, Relay, Server, Context);
                    {error, _, _} = Error ->
                        Error
                end;
            {error, _, _} = Error ->
                Error
        end
    end).

fetch([], _Total, _Done, Pulled, Options, Relay, _Server, Context) ->
    newest(Pulled, maps:remove(longest, Options), Relay, Context);
fetch([#{name := Name, files := Files} | Loads], Total, Done, Pulled, Options, Relay, Server, Context) ->
    #{longest := Longest} = Options,
    case fetch_files(Files, Longest, Total, Done, Relay, Server, Context) of
        {ok, Now, Left} ->
            case step(take, (maps:remove(longest, Options))#{name => Name}, Relay, Context) of
                {ok, #{pulled := Came} = Taken} ->
                    %% What was not taken does not keep the room from others.
                    remove(Files, Relay),
                    Rest = case Came of
                        [] -> Longest;
                        _ -> Left
                    end,
                    Added = maps:merge_with(
                        fun
                            (Key, Before, New) when Key =:= pulled; Key =:= problems; Key =:= warnings -> Before ++ New;
                            (_, Before, _) -> Before
                        end,
                        Pulled,
                        Taken
                    ),
                    fetch(Loads, Total, Now, Added, Options#{longest := Rest}, Relay, Server, Context);
                {error, _, _} = Error ->
                    Error
            end;
        {error, Kind, Reason} when Kind =:= damaged; Kind =:= permission; Kind =:= no_space ->
            %% An error that is about one backup is none of the others.
            remove(Files, Relay),
            #{problems := Problems} = Pulled,
            Problem = #{name => Name, kind => Kind, reason => Reason},
            fetch(Loads, Total, Done, Pulled#{problems := Problems ++ [Problem]}, Options, Relay, Server, Context);
        {error, _, _} = Error ->
            Error
    end.

remove(Files, Relay) ->
    _ = [file:delete(filename:join(Relay, File)) || #{file := File} <- Files],
    ok.

%% What is not there is told by who takes the backup. `Longest' is for all files together of which the list does
%% not say how long they are; what is left of it is in the answer.
fetch_files([], Longest, _Total, Done, _Relay, _Server, _Context) ->
    {ok, Done, Longest};
fetch_files([#{file := File} = Part | Files], Longest, Total, Done, Relay, Server, Context) ->
    tell(download, Done, Total, Server),
    Most = case Part of
        #{size := undefined} -> Longest;
        #{size := Size} -> Size
    end,
    Path = filename:join(Relay, File),
    case download(File, Path, Most, Context) of
        {error, damaged, _} when map_get(size, Part) =:= undefined ->
            {error, no_space, <<"too little room to download ", File/binary, ", of which the list does not say how long it is">>};
        {error, Kind, _} = Error when Kind =/= not_found -> Error;
        _ ->
            Left = case Part of
                #{size := undefined} -> max(0, Longest - filelib:file_size(Path));
                _ -> Longest
            end,
            fetch_files(Files, Left, Total, Done + size_of(Part), Relay, Server, Context)
    end.

%% The newest of the store that is here.
newest(#{pulled := New, already := Already} = Pulled, Options, Relay, Context) ->
    Names = Already ++ [Name || #{name := Name} <- New],
    {ok, #{backups := Backups}} = zbackup:list(#{backup_dir => backup_site:dir(Context)}),
    case [Name || #{name := Name} <- Backups, lists:member(Name, Names)] of
        [Newest | _] ->
            case step(take, Options#{name => Newest}, Relay, Context) of
                {ok, #{newest := undefined}} ->
                    {ok, Pulled};
                {ok, #{newest := #{is_proven := IsProven} = Found}} ->
                    Came = [Is || #{name := Name, is_proven := Is} <- New, Name =:= Newest],
                    {ok, Pulled#{newest := Found#{is_new := Came =/= [], is_proven := hd(Came ++ [IsProven])}}};
                {error, _, _} = Error ->
                    Error
            end;
        [] ->
            {ok, Pulled}
    end.

%% The relay: a private folder for what is fetched. Its name begins as that of the list does, so that the folder
%% of the backups is known to be one.
in_relay(Context, Fun) ->
    Relay = filename:join(backup_site:dir(Context), "backup.json.filestore"),
    _ = file:del_dir_r(Relay),
    ok = file:make_dir(Relay),
    ok = file:change_mode(Relay, 8#700),
    try
        Fun(Relay)
    after
        file:del_dir_r(Relay)
    end.

step(Step, Options, Relay, Context) ->
    case zbackup:relay(backup_site:store(Context), Options#{step => Step, relay => Relay}) of
        {ok, Job} -> zbackup:await(Job);
        {error, _, _} = Error -> Error
    end.

total(Loads) ->
    lists:sum([size_of(Part) || #{files := Files} <- Loads, Part <- Files]).

size_of(#{size := undefined}) -> 0;
size_of(#{size := Size}) -> Size.

tell(Phase, Done, Total, Server) ->
    Server ! {progress, self(), #{phase => Phase, done => Done, total => Total, rate => 0}},
    ok.

%% Requests

fetch_list(Relay, Context) ->
    Path = filename:join(Relay, ?LIST),
    _ = file:delete(Path),
    case download(?LIST, Path, ?LONGEST_LIST, Context) of
        {error, not_found, _} -> _ = file:delete(Path), ok;
        Done -> Done
    end.

upload(File, Path, Context) ->
    answer(upload, File, request(#filestore_request{action = upload, remote = remote(File), local = Path}, Context)).

delete(Files, Context) ->
    lists:foreach(
        fun(File) ->
            Request = #filestore_request{action = delete, remote = remote(File)},
            case answer(delete, File, request(Request, Context)) of
                ok ->
                    ok;
                {error, Kind, Message} ->
                    ?LOG_WARNING(#{
                        in => zotonic_mod_backup,
                        text => <<"A file that was replaced is still in the file store">>,
                        result => error,
                        reason => Kind,
                        message => Message
                    })
            end
        end,
        Files
    ).

%% In a process of its own, so that it can be stopped when more comes than should.
download(File, Path, Longest, Context) ->
    Request = #filestore_request{action = download, remote = remote(File), local = Path},
    Self = self(),
    Pid = z_proc:spawn_link_md(fun() -> Self ! {self(), request(Request, Context)} end),
    answer(download, File, downloaded(Pid, Path, Longest)).

downloaded(Pid, Path, Longest) ->
    receive
        {Pid, ok} ->
            case filelib:file_size(Path) > Longest of
                true -> too_long(Path);
                false -> ok
            end;
        {Pid, Answer} ->
            Answer
    after ?LOOK ->
        case filelib:file_size(Path) > Longest of
            true ->
                unlink(Pid),
                exit(Pid, kill),
                too_long(Path);
            false ->
                downloaded(Pid, Path, Longest)
        end
    end.

too_long(Path) ->
    _ = file:delete(Path),
    {error, too_long}.

request(Request, Context) ->
    try
        z_notifier:first(Request, Context)
    catch
        Class:_ -> {error, Class}
    end.

remote(File) ->
    <<"backup/", File/binary>>.

answer(_Action, _File, ok) ->
    ok;
answer(Action, File, undefined) ->
    failed(Action, File, unreachable, <<"there is no file store any more">>);
answer(Action, File, {error, Reason}) ->
    {Kind, Why} = reason(Reason),
    failed(Action, File, Kind, Why).

reason(enoent) -> {not_found, <<"it is not there">>};
reason(Reason) when Reason =:= forbidden; Reason =:= eacces; Reason =:= 401; Reason =:= 403 ->
    {permission, <<"the store does not allow it: look at the settings of mod_filestore">>};
reason(too_long) -> {damaged, <<"more comes than the list says; do not trust this store until you know why">>};
reason(Reason) when is_atom(Reason) -> {unreachable, <<"it says ", (atom_to_binary(Reason))/binary>>};
reason(Reason) when is_integer(Reason) -> {unreachable, <<"it answers ", (integer_to_binary(Reason))/binary>>};
reason(_) -> {unreachable, <<"the log of mod_filestore has more">>}.

failed(Action, File, Kind, Why) ->
    What = case Action of
        upload -> <<"cannot upload ">>;
        download -> <<"cannot download ">>;
        delete -> <<"cannot remove ">>
    end,
    {error, Kind, <<What/binary, File/binary, " (file store of the site): ", Why/binary>>}.
