{% wire id=#form type="submit" postback={upload id=id} delegate=`controller_admin_backup_revision` %}
<form id="{{ #form }}" method="POST" action="postback" class="form">
    <p>{_ Choose the file that the page was saved to, with the extension .bert or .json. _}</p>
    <div class="form-group">
        <input class="form-control" id="{{ #file }}" name="file" type="file" accept=".bert,.json">
        {% validate id=#file name="file" type={presence} %}
    </div>
    <p class="alert alert-warning">{_ The contents of the page are replaced by those of the file. Its connections and its media stay as they are. _}</p>
    <div class="modal-footer">
        {% button class="btn btn-default" action={dialog_close} text=_"Cancel" tag="a" %}
        <button class="btn btn-primary" type="submit">{_ Replace the page _}</button>
    </div>
</form>
