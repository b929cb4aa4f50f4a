%% @doc Takes in a page that was saved to a file, as `.bert' (what mod_export makes) or `.json'.
-module(backup_rsc_upload).

-export([upload/2, largest/0]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% Bytes, also when uncompressed. A page is a few kilobytes.
-define(LARGEST, 16 * 1024 * 1024).
%% What the site decides for itself.
-define(OWN, [
    <<"id">>, <<"category">>, <<"category_id">>, <<"version">>, <<"medium">>, <<"created">>, <<"creator_id">>,
    <<"modified">>, <<"modifier_id">>, <<"page_url">>, <<"page_url_abs">>, <<"props">>
]).

%% @doc So many bytes a file has at most.
-spec largest() -> pos_integer().
largest() ->
    ?LARGEST.

%% @doc Replaces the page with the contents of the file; without an id, makes a new page. `badarg' when it is
%% no such file.
-spec upload(#rsc_upload{}, z:context()) -> {ok, m_rsc:resource_id()} | {error, term()}.
upload(#rsc_upload{id = Id, format = bert, data = Data}, Context) ->
    case properties(Data) of
        {ok, Props} -> save(Id, Props, Context);
        error -> {error, badarg}
    end;
upload(#rsc_upload{id = Id, format = json, data = Data}, Context) ->
    case json(Data) of
        {ok, #{<<"status">> := <<"ok">>, <<"result">> := #{} = Json}} -> import(Id, Json, Context);
        {ok, Json} -> import(Id, Json, Context);
        error -> {error, badarg}
    end;
upload(#rsc_upload{}, _Context) ->
    {error, badarg}.

%% One page: as a map or a list of properties; by itself, in a list, or in a list with its id.
properties(Data) ->
    case backup_revision_term:decode(Data, ?LARGEST) of
        {ok, Term} ->
            try bert(Term) of
                [{Id, Props}] when is_integer(Id) -> map(Props);
                [Props] when is_map(Props); is_list(Props) -> map(Props);
                Props -> map(Props)
            catch
                throw:invalid -> error
            end;
        {error, _} ->
            error
    end.

map([]) ->
    error;
map(Props) ->
    case backup_revision_term:to_props(Props) of
        {ok, Map} when map_size(Map) > 0 ->
            case lists:all(fun is_binary/1, maps:keys(Map)) of
                true -> {ok, Map};
                false -> error
            end;
        _ ->
            error
    end.

%% What BERT has instead of some terms of Erlang.
bert({bert, nil}) -> [];
bert({bert, true}) -> true;
bert({bert, false}) -> false;
bert({bert, dict, Pairs}) when is_list(Pairs) -> maps:from_list([bert_pair(Pair) || Pair <- proper(Pairs)]);
bert(Tuple) when is_tuple(Tuple) -> list_to_tuple([bert(Item) || Item <- tuple_to_list(Tuple)]);
bert([_ | _] = List) -> [bert(Item) || Item <- proper(List)];
bert(Map) when is_map(Map) -> maps:map(fun(_, Value) -> bert(Value) end, Map);
bert(Term) -> Term.

bert_pair({Key, Value}) -> {Key, bert(Value)};
bert_pair(_) -> throw(invalid).

proper(List) ->
    try length(List) of
        _ -> List
    catch
        error:badarg -> throw(invalid)
    end.

save(Id, Props, Context) ->
    Options = [{is_escape_texts, false}, is_import],
    Kept = maps:filter(fun(Key, _) -> is_kept(Key) end, Props),
    case {Id, category(Props, Context)} of
        {undefined, undefined} -> m_rsc_update:insert(Kept#{<<"category">> => other}, Options, Context);
        {undefined, Category} -> m_rsc_update:insert(Kept#{<<"category_id">> => Category}, Options, Context);
        {_, undefined} -> m_rsc_update:update(Id, Kept, Options, Context);
        {_, Category} -> m_rsc_update:update(Id, Kept#{<<"category_id">> => Category}, Options, Context)
    end.

is_kept(<<"computed_", _/binary>>) -> false;
is_kept(<<"pivot_", _/binary>>) -> false;
is_kept(Key) -> not lists:member(Key, ?OWN).

%% The most special of its categories that there is here, by their names: ids are those of another site, maybe.
category(#{<<"computed_category">> := Names}, Context) when is_list(Names) ->
    Known = [Id || Name <- Names, is_binary(Name) orelse is_atom(Name), {ok, Id} <- [m_category:name_to_id(Name, Context)]],
    case Known of
        [Id | _] -> Id;
        [] -> undefined
    end;
category(_, _Context) ->
    undefined.

json(Map) when is_map(Map) ->
    {ok, Map};
json(Data) when is_binary(Data), byte_size(Data) =< ?LARGEST ->
    try z_json:decode(Data) of
        Map when is_map(Map) -> {ok, Map};
        _ -> error
    catch
        _:_ -> error
    end;
json(_) ->
    error.

%% Of what this site exported itself, Zotonic's import does nothing and says that it went well.
import(Id, Json, Context) ->
    Site = z_context:site(Context),
    case is_binary(maps:get(<<"uri">>, Json, undefined)) andalso z_sites_dispatcher:get_site_for_url(maps:get(<<"uri">>, Json)) of
        {ok, Site} -> {error, own_json};
        _ -> import_other(Id, contents(Id, Json), Context)
    end.

%% A page that is there keeps its medium.
contents(undefined, Json) -> Json;
contents(_Id, Json) -> maps:without([<<"medium">>, <<"medium_url">>], Json).

import_other(Id, Json, Context) ->
    case m_rsc_import:import(Id, Json, [is_authoritative], Context) of
        {ok, {Imported, _}} when Id =:= undefined; Imported =:= Id -> {ok, Imported};
        {ok, _} -> {error, badarg};
        {error, status} -> {error, badarg};
        {error, _} = Error -> Error
    end.
