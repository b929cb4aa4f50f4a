<div class="widget">
    <h3 class="widget-header">{_ Copies in another place _}</h3>
    <div class="widget-content">
        {% if m.backup.is_filestore_enabled %}
            <p>{_ Backups are copied to the file store of this site (mod_filestore). _}</p>
        {% endif %}
        {% with m.backup.offsite, m.backup.is_config_locked as offsite, is_locked %}
            {% if is_locked %}
                <p>
                    {% if offsite %}
                        {% trans "Backups are copied to {url}." url=offsite.url|escape %}
                    {% elseif not m.backup.is_filestore_enabled %}
                        {_ Backups are not copied to another place. _}
                    {% endif %}
                </p>
            {% else %}
                {% wire id="backup-offsite" type="submit" postback=`config_offsite` delegate=`controller_admin_backup` %}
                <form id="backup-offsite" method="post" action="postback" autocomplete="off">
                    <p class="help-block">
                        {% if m.backup.is_filestore_enabled %}
                            {_ After each backup, what is new goes to an object store that speaks S3: the database and the configuration. _}
                        {% else %}
                            {_ After each backup, what is new goes to an object store that speaks S3: the database, the configuration and the media files. _}
                        {% endif %}
                    </p>
                    <div class="form-group">
                        <label for="offsite_url">{_ Place _}</label>
                        <input class="form-control" id="offsite_url" name="offsite_url" type="text" value="{{ offsite.url|escape }}" placeholder="s3://bucket/{{ m.site.site|escape }}" spellcheck="false">
                        <p class="help-block">{_ Empty: no copies are made. Each site needs a place of its own. _}</p>
                    </div>
                    <div class="form-group">
                        <label for="offsite_endpoint">{_ Address of the store _}</label>
                        <input class="form-control" id="offsite_endpoint" name="offsite_endpoint" type="text" value="{{ offsite.endpoint|escape }}" placeholder="https://s3.example.com" spellcheck="false">
                        <p class="help-block">{_ Empty: Amazon’s. _}</p>
                    </div>
                    <div class="form-group">
                        <label for="offsite_region">{_ Region _}</label>
                        <input class="form-control" id="offsite_region" name="offsite_region" type="text" value="{{ offsite.region|escape }}" spellcheck="false">
                    </div>
                    <div class="form-group">
                        <label for="offsite_key">{_ Access key _}</label>
                        <input class="form-control" id="offsite_key" name="offsite_key" type="text" value="{{ offsite.access_key_id|escape }}" spellcheck="false" autocomplete="off">
                    </div>
                    <div class="form-group">
                        <label for="offsite_secret">{_ Secret _}</label>
                        <input class="form-control" id="offsite_secret" name="offsite_secret" type="password" value="" autocomplete="new-password"
                               placeholder="{% if offsite.has_secret %}{_ stays as it is _}{% endif %}">
                        <p class="help-block">{_ It is not shown. Leave it empty to keep it. _}</p>
                    </div>
                    <div class="form-group">
                        <button class="btn btn-primary" type="submit">{_ Save _}</button>
                    </div>
                </form>
            {% endif %}
        {% endwith %}
    </div>
</div>
