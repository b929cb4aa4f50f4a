%% @doc A stand-in for the module of the same name in Zotonic. A file is there as long as the test says so.
-module(m_media).

-export([get/2, insert/3, delete/2, recover_medium/2]).

-include("../include/zotonic.hrl").

-spec get(m_rsc:resource_id(), z:context()) -> map() | undefined.
get(Id, Context) ->
    case z_db:qmap_row("select * from medium where id = $1", [Id], Context) of
        {ok, #{<<"props">> := Props} = Row} -> maps:merge(Props, maps:remove(<<"props">>, Row));
        {error, _} -> undefined
    end.

-spec insert(m_rsc:resource_id(), binary(), z:context()) -> ok.
insert(Id, Digest, Context) ->
    _ = remove(Id, Context),
    add(Id, #{<<"digest">> => Digest, <<"mime">> => <<"image/jpeg">>, <<"is_deletable_file">> => true}, Context).

-spec delete(m_rsc:resource_id(), z:context()) -> ok | {error, term()}.
delete(Id, Context) ->
    case host:get(media, ok) of
        ok -> remove(Id, Context);
        Error -> Error
    end.

%% The file is copied, under a new name.
-spec recover_medium(map(), z:context()) -> ok | {error, term()}.
recover_medium(#{<<"id">> := Id} = Medium, Context) ->
    ok = remove(Id, Context),
    recover(host:get(media, ok), Id, Medium, Context).

recover(ok, Id, Medium, Context) ->
    add(Id, maps:without([<<"id">>, <<"created">>, <<"filename">>], Medium), Context);
recover(crash, _Id, _Medium, _Context) ->
    error(crash);
recover(Error, _Id, _Medium, _Context) ->
    Error.

add(Id, Props, Context) ->
    Name = iolist_to_binary([maps:get(<<"digest">>, Props), "-", integer_to_list(erlang:unique_integer([positive]))]),
    1 = z_db:q(
        "insert into medium (id, filename, props, created) values ($1, $2, $3, date_trunc('second', now()))",
        [Id, Name, {term, Props}], Context),
    Done = #media_update_done{action = insert, id = Id, pre_props = #{}, post_props = get(Id, Context)},
    mod_backup:observe_media_update_done(Done, Context).

remove(Id, Context) ->
    case get(Id, Context) of
        undefined ->
            ok;
        Medium ->
            1 = z_db:q("delete from medium where id = $1", [Id], Context),
            Done = #media_update_done{action = delete, id = Id, pre_props = Medium, post_props = #{}},
            mod_backup:observe_media_update_done(Done, Context)
    end.
