%% @doc A round of copies: backups to the stores of a site or, in the `backup' environment, from them. A
%% process of its own, linked to the server that owns it ({@link backup_copier}), which is told
%% `{progress, Pid, Progress}' while it works and `{round, Pid, Result}' when it is done.
%%
%% Backups are only read by it. Whatever a store does, the local ones are as they were.
-module(backup_copy).

-export([start/4]).

-include_lib("zotonic_core/include/zotonic.hrl").

-export_type([result/0]).

%% Of a download, the newest backup that is here and in a store.
-type result() :: {ok, zbackup:newest() | undefined} | no_store | zbackup:error().

%% @doc Starts a round of the calling process. Unless it is due, nothing is uploaded where all backups are
%% marked as uploaded.
-spec start(upload | download, boolean(), pid(), z:context()) -> pid().
start(Kind, IsDue, Server, Context) ->
    z_proc:spawn_link_md(fun() ->
        Result = backup_job:guarded(fun() -> run(Kind, IsDue, Server, Context) end),
        Server ! {round, self(), Result}
    end).

run(upload, IsDue, Server, Context) ->
    case backup_store:all(Context) of
        [] ->
            no_store;
        Stores ->
            case IsDue orelse has_new(Context) of
                true -> result(copied(upload, [upload(Store, Server, Context) || Store <- Stores], Context));
                false -> {ok, undefined}
            end
    end;
run(download, _IsDue, Server, Context) ->
    case backup_store:all(Context) of
        [] ->
            no_store;
        Stores ->
            Downloaded = copied(download, [download(Store, Server, Context) || Store <- Stores], Context),
            %% What came whole is restored, whatever became of the others.
            case backup_replica:restore(newest(Downloaded), Context) of
                ok -> result(Downloaded);
                {error, _, _} = Error -> Error
            end
    end.

%% Whether a backup is not marked as uploaded. When it is not known, somebody has to be told.
has_new(Context) ->
    case zbackup:list(#{backup_dir => backup_site:dir(Context)}) of
        {ok, #{backups := Backups}} -> lists:any(fun(#{is_filestore_uploaded := Is}) -> not Is end, Backups);
        {error, _, _} -> true
    end.

upload({error, _, _} = Error, _Server, _Context) ->
    Error;
upload(filestore, Server, Context) ->
    uploaded(backup_filestore:push(Server, Context));
upload({s3, Offsite}, Server, Context) ->
    Request = #{backup_dir => backup_site:dir(Context), offsite => Offsite},
    uploaded(backup_job:job(zbackup:push(Request), Server, Context)).

uploaded({ok, #{uploaded := Uploaded, removed := Removed} = Pushed}) ->
    _ = Uploaded =:= [] orelse ?LOG_INFO(#{
        in => zotonic_mod_backup,
        text => <<"Backups uploaded">>,
        result => ok,
        store => maps:get(store, Pushed),
        backups => [Name || #{name := Name} <- Uploaded],
        removed => Removed
    }),
    warned(Pushed),
    {Pushed, undefined};
uploaded({error, _, _} = Error) ->
    Error.

download({error, _, _} = Error, _Server, _Context) ->
    Error;
download(Store, Server, Context) ->
    case backup_config:encryption(Context) of
        {ok, #{is_on := IsOn}} ->
            Options = #{require_encrypted => IsOn},
            downloaded(pull(Store, Options, Server, Context));
        {error, _, _} = Error ->
            Error
    end.

pull(filestore, Options, Server, Context) ->
    backup_filestore:pull(Options, Server, Context);
pull({s3, Offsite}, Options, Server, Context) ->
    Request = (backup_site:store(Context))#{offsite => Offsite},
    backup_job:job(zbackup:pull(Request, Options), Server, Context).

downloaded({ok, #{pulled := Backups, newest := Newest} = Pulled}) ->
    _ = Backups =:= [] orelse ?LOG_INFO(#{
        in => zotonic_mod_backup,
        text => <<"Backups downloaded">>,
        result => ok,
        store => maps:get(store, Pulled),
        backups => [Name || #{name := Name} <- Backups]
    }),
    _ = [
        ?LOG_WARNING(#{in => zotonic_mod_backup, text => Note, backup => Name})
     || #{name := Name, notes := Notes} <- Backups, Note <- Notes
    ],
    warned(Pulled),
    {Pulled, Newest};
downloaded({error, _, _} = Error) ->
    Error.

warned(#{warnings := Warnings, store := Store}) ->
    lists:foreach(
        fun(Warning) -> ?LOG_WARNING(#{in => zotonic_mod_backup, text => Warning, store => Store}) end,
        Warnings
    ).

%% What came of all stores: the newest backup, and what went wrong, as one error. A store in trouble is told to
%% the log and to the pages.
copied(What, Outcomes, Context) ->
    Newest = lists:foldl(fun newer/2, undefined, [Newest || {_, Newest} <- Outcomes]),
    Errors = [Error || {error, _, _} = Error <- Outcomes]
        ++ [{error, Kind, <<Name/binary, ": ", Reason/binary>>}
            || {#{problems := Problems}, _} <- Outcomes,
               #{name := Name, kind := Kind, reason := Reason} <- Problems],
    _ = [
        ?LOG_ERROR(#{
            in => zotonic_mod_backup,
            text => <<"Backups are not copied">>,
            copy => What,
            result => error,
            reason => Kind,
            message => Message
        })
     || {error, Kind, Message} <- Errors
    ],
    backup_job:publish(told(What, Errors), Context),
    {Newest, Errors}.

told(upload, []) -> uploaded;
told(upload, _) -> upload_error;
told(download, []) -> downloaded;
told(download, _) -> download_error.

newer(#{timestamp := One} = New, #{timestamp := Other}) when One > Other -> New;
newer(New, undefined) -> New;
newer(_, Newest) -> Newest.

newest({Newest, _}) -> Newest.

result({Newest, []}) -> {ok, Newest};
result({_, [{error, Kind, _} | _] = Errors}) ->
    {error, Kind, iolist_to_binary(lists:join("\n", [Message || {error, _, Message} <- Errors]))}.
